//! A progress bar on standard error, only when that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use oxifaster_device::sync::atomic::Ordering;

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
