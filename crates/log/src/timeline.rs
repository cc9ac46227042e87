//! Time lines: which incarnation is in force at an address, and which stretches were cut off for ever.
//!
//! Callers: appenders take the newest seed, readers and recovery ask for any. A table never changes: a cut makes a new one.
//!
//! ```text
//!   incarnation 1           cut          incarnation 2
//!   |------------------------|xxxxxxxxxxxx|----------------- ..
//!   start                    ends         start
//! ```

use crate::entry::Seed;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation {
    pub(crate) number: u64,
    /// Its first address.
    pub(crate) start: u64,
    /// Where the one before it ends; what lies from there to `start` was cut off.
    pub(crate) before_ends: u64,
}

/// Rows that a table has at most. Then a log that was not closed has the device truncated instead when it is opened, and a cut that
/// needs a row is refused (`docs/format/log.md`, Space).
pub(crate) const INCARNATIONS_MAX: usize = 1500;
/// Rows that are read: versions that did not refuse cuts may have written as many as the payload holds.
pub(crate) const INCARNATIONS_READ_MAX: usize = 65_536 / 24;

/// All incarnations that still have entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    log_id: [u8; 16],
    rows: Vec<Incarnation>,
}

impl Timeline {
    /// `rows` rise in number, start and end.
    pub(crate) fn new(log_id: [u8; 16], rows: Vec<Incarnation>) -> Self {
        Self { log_id, rows }
    }

    pub(crate) fn log_id(&self) -> [u8; 16] {
        self.log_id
    }

    pub(crate) fn rows(&self) -> &[Incarnation] {
        &self.rows
    }

    fn place_of(&self, address: u64) -> Option<usize> {
        self.rows.partition_point(|row| row.start <= address).checked_sub(1)
    }

    /// The seed of the checksums at `address`.
    pub(crate) fn seed_at(&self, address: u64) -> Seed {
        let row = self.place_of(address).and_then(|place| self.rows.get(place));
        Seed::new(self.log_id, row.map_or(0, |row| row.number))
    }

    /// Where the stretch that `address` lies in ends, and where the log goes on then; `None` in the last one.
    pub(crate) fn next_cut(&self, address: u64) -> Option<(u64, u64)> {
        let next = self.place_of(address).map_or(0, |place| place + 1);
        self.rows.get(next).map(|row| (row.before_ends, row.start))
    }

    /// Whether `address` was cut off.
    pub(crate) fn is_cut_off(&self, address: u64) -> bool {
        self.next_cut(address).is_some_and(|(ends, _)| address >= ends)
    }

    /// The first address from `address` on that was not cut off.
    pub(crate) fn skip_cuts(&self, mut address: u64) -> u64 {
        while let Some((ends, start)) = self.next_cut(address)
            && address >= ends
        {
            address = start;
        }
        address
    }

    /// The table with one more row: from `start` on there is a new incarnation, and what lies from `ends` to there is cut off.
    pub(crate) fn with_cut(&self, ends: u64, start: u64) -> Self {
        let number = self.rows.last().map_or(0, |last| last.number) + 1;
        let (mut rows, gone): (Vec<_>, Vec<_>) = self.rows.iter().copied().partition(|row| row.start < ends);
        // What was cut off below a row that goes stays cut off.
        let before_ends = gone.iter().map(|row| row.before_ends).fold(ends, u64::min);
        rows.push(Incarnation { number, start, before_ends });
        Self { log_id: self.log_id, rows }
    }

    /// The table without what ends below `begin`.
    pub(crate) fn without_before(&self, begin: u64) -> Self {
        let first = self.place_of(begin).unwrap_or(0);
        Self { log_id: self.log_id, rows: self.rows.get(first..).unwrap_or_default().to_vec() }
    }

    /// Whether [`with_cut`](Self::with_cut) at `ends` makes a table that can be kept. One that is too long already may not grow.
    pub(crate) fn has_room_for_cut(&self, ends: u64) -> bool {
        let kept = self.rows.partition_point(|row| row.start < ends);
        kept < INCARNATIONS_MAX.max(self.rows.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64, start: u64, before_ends: u64) -> Incarnation {
        Incarnation { number, start, before_ends }
    }

    #[test]
    fn cuts_are_skipped_and_deeper_cuts_swallow_rows() {
        let first = Timeline::new([1; 16], vec![row(1, 512, 512)]);
        let second = first.with_cut(700, 1024);
        assert_eq!(second.rows(), [row(1, 512, 512), row(2, 1024, 700)]);
        assert_eq!(second.skip_cuts(699), 699);
        assert_eq!(second.skip_cuts(700), 1024);
        assert!(second.is_cut_off(1023) && !second.is_cut_off(1024));
        assert_ne!(second.seed_at(600), second.seed_at(1024));
        let third = second.with_cut(1100, 2048).with_cut(600, 4096);
        assert_eq!(third.rows(), [row(1, 512, 512), row(4, 4096, 600)]);
        assert_eq!(third.skip_cuts(650), 4096);
        let fourth = second.with_cut(1100, 2048).with_cut(1024, 4096);
        assert_eq!(fourth.skip_cuts(700), 4096);
        assert!(fourth.is_cut_off(1030));
        assert_eq!(third.without_before(4100).rows(), [row(4, 4096, 600)]);
        assert_eq!(third.without_before(550).rows().len(), 2);
    }

    #[test]
    fn a_table_has_room_for_cuts_that_keep_few_stretches() {
        let full = (1..1500).fold(Timeline::new([1; 16], vec![row(1, 512, 512)]), |table, number| {
            assert!(table.has_room_for_cut(number * 1024));
            table.with_cut(number * 1024 - 10, number * 1024)
        });
        assert_eq!(full.rows().len(), INCARNATIONS_MAX);
        let last = full.rows()[INCARNATIONS_MAX - 1].start;
        assert!(!full.has_room_for_cut(last + 1));
        // At the start of a stretch: nothing of it is kept.
        assert!(full.has_room_for_cut(last));
        assert_eq!(full.with_cut(last, last + 1024).rows().len(), INCARNATIONS_MAX);
        assert!(full.without_before(5000).has_room_for_cut(last + 1));
        // Of a version that did not refuse.
        let longer = full.with_cut(last + 1, last + 1024);
        assert!(!longer.has_room_for_cut(last + 2000));
        assert!(longer.has_room_for_cut(last + 1024));
    }

    #[test]
    fn a_crash_at_the_same_place_replaces_the_row() {
        let crashed = Timeline::new([1; 16], vec![row(1, 512, 512)]).with_cut(1024, 1024);
        assert_eq!(crashed.with_cut(1024, 1024).rows(), [row(1, 512, 512), row(3, 1024, 1024)]);
        let empty = Timeline::new([1; 16], vec![row(1, 512, 512)]).with_cut(512, 512);
        assert_eq!(empty.rows(), [row(2, 512, 512)]);
        let cut_and_crashed =
            Timeline::new([1; 16], vec![row(1, 512, 512)]).with_cut(700, 1024).with_cut(1024, 1024);
        assert_eq!(cut_and_crashed.skip_cuts(700), 1024);
        let all_cut = Timeline::new([1; 16], vec![row(1, 512, 512)]).with_cut(512, 1024);
        assert_eq!(all_cut.skip_cuts(512), 1024);
    }
}
