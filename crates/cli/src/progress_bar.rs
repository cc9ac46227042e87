//! A progress bar on standard error, only when that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use oxifaster_device::sync::atomic::Ordering;
use oxifaster_store::RecoveryProgress;

use crate::byte_size::Grouped;
use crate::pipeline::Progress;

/// How far a run is, for the person who waits.
#[derive(Debug)]
pub struct ProgressLine {
    bar: ProgressBar,
    what: &'static str,
}

impl ProgressLine {
    /// A bar over `total_bytes` of input, or a spinner when the size is not known. `what` is what is counted beside.
    #[must_use]
    pub fn new(total_bytes: Option<u64>, what: &'static str) -> Self {
        let (bar, template) = match total_bytes {
            Some(total) => (
                ProgressBar::new(total),
                "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}  {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {bytes_per_sec}  {msg}"),
        };
        // The templates are constants that the tests below parse.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, what }
    }

    /// Shows how far it is.
    pub fn show(&self, progress: &Progress) {
        self.bar.set_position(progress.bytes.load(Ordering::Relaxed));
        let count = Grouped(progress.records.load(Ordering::Relaxed));
        self.bar.set_message(format!("{count} {}", self.what));
    }

    /// Takes the bar off the terminal.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// How far a benchmark is: its phases, one after the other on one line.
#[derive(Debug, Default)]
pub struct PhaseLine {
    bar: Option<(&'static str, ProgressBar)>,
}

impl PhaseLine {
    /// Shows a phase at `position` of `total`, and how fast it is now.
    pub fn show(&mut self, phase: &'static str, position: u64, total: u64, per_second: u64) {
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != phase) {
            self.finish();
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template(PHASE_TEMPLATE) {
                bar.set_style(style);
            }
            bar.set_prefix(phase);
            self.bar = Some((phase, bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(position.min(total));
            bar.set_message(format!("{} operations/s", Grouped(per_second)));
        }
    }

    /// Takes the line off the terminal.
    pub fn finish(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// How far the opening of a store is, which reads and checks its whole log.
#[derive(Clone, Debug)]
pub struct OpeningLine {
    bar: ProgressBar,
}

impl Default for OpeningLine {
    fn default() -> Self {
        Self::new()
    }
}

impl OpeningLine {
    /// A line that is not seen before something is shown.
    #[must_use]
    pub fn new() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(OPENING_TEMPLATE) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Shows how far it is. It starts over when the log is read again with a larger index.
    pub fn show(&self, progress: RecoveryProgress) {
        if self.bar.length() != Some(progress.pages_total) {
            self.bar.set_length(progress.pages_total);
        }
        self.bar.set_position(progress.pages_done);
    }

    /// Takes the line off the terminal.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

const OPENING_TEMPLATE: &str = "opening the store {bar:30} {pos}/{len} pages  {eta} left";
const PHASE_TEMPLATE: &str = "{prefix:7} {bar:30} {percent:>3} %  {msg}  {eta} left";

#[cfg(test)]
mod tests {
    use super::{OPENING_TEMPLATE, OpeningLine, PHASE_TEMPLATE, ProgressStyle, RecoveryProgress};

    #[test]
    fn templates_are_understood() {
        ProgressStyle::with_template(PHASE_TEMPLATE).unwrap();
        ProgressStyle::with_template(OPENING_TEMPLATE).unwrap();
    }

    #[test]
    fn an_opening_shows_pages() {
        let line = OpeningLine::new();
        line.show(RecoveryProgress { pages_done: 3, pages_total: 10 });
        assert_eq!((line.bar.position(), line.bar.length()), (3, Some(10)));
        line.show(RecoveryProgress { pages_done: 1, pages_total: 10 });
        assert_eq!(line.bar.position(), 1, "it starts over");
    }
}
