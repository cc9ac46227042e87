//! Totals: what this program has done to a store over all of its runs, in a small file beside it.
//!
//! Callers: the store's close (adds the run), `stats` (shows them). A store keeps statistics while it is open; this file is no
//! part of it: whoever deletes it loses figures and nothing else, and other programs that open the store are not counted.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use oxifaster_store::Statistics;
use serde_json::{Map, Value};

use crate::output;

const FILE: &str = "oxifaster.totals.json";

/// A figure that adds up: its name in the file, and where it is.
type Field = (&'static str, fn(&mut Statistics) -> &mut u64);

const FIELDS: [Field; 17] = [
    ("reads", |statistics| &mut statistics.operations.reads),
    ("upserts", |statistics| &mut statistics.operations.upserts),
    ("rmws", |statistics| &mut statistics.operations.rmws),
    ("conditional", |statistics| &mut statistics.operations.conditional),
    ("deletes", |statistics| &mut statistics.operations.deletes),
    ("read_hits", |statistics| &mut statistics.read_hits),
    ("read_misses", |statistics| &mut statistics.read_misses),
    ("in_place_updates", |statistics| &mut statistics.in_place_updates),
    ("appended_records", |statistics| &mut statistics.appended_records),
    ("appended_bytes", |statistics| &mut statistics.appended_bytes),
    ("pending_operations", |statistics| &mut statistics.pending_operations),
    ("device_reads", |statistics| &mut statistics.device_reads),
    ("device_read_bytes", |statistics| &mut statistics.device_read_bytes),
    ("device_writes", |statistics| &mut statistics.device_writes),
    ("device_write_bytes", |statistics| &mut statistics.device_write_bytes),
    ("device_syncs", |statistics| &mut statistics.device_syncs),
    ("pages_evicted", |statistics| &mut statistics.pages_evicted),
];

/// Sums over the runs of this program on one store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs that did something.
    pub runs: u64,
    /// Their statistics, summed; what does not add up (sizes, sessions) is zero.
    pub sum: Statistics,
}

impl Totals {
    /// The totals of the store in `folder`; none of a store that has no file of them, or a damaged one, which is told.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let path = path(folder);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(|map| Self::from_map(&map)).unwrap_or_else(|error| {
                    output::tell(&format!("{} is damaged, totals start anew: {error}", path.display()));
                    Self::default()
                })
            }
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    output::tell(&format!(
                        "{} could not be read, totals start anew: {error}",
                        path.display()
                    ));
                }
                Self::default()
            }
        }
    }

    /// Adds a run that is over. A file that can't be written is told, and fails nothing.
    pub fn add_run(folder: &Path, mut run: Statistics) {
        let mut totals = Self::of(folder);
        totals.runs += 1;
        for (_, field) in FIELDS {
            *field(&mut totals.sum) += *field(&mut run);
        }
        if let Err(error) = totals.write(folder) {
            output::tell(&format!("the totals of {} could not be written: {error}", folder.display()));
        }
    }

    fn from_map(map: &Map<String, Value>) -> Self {
        let number = |name: &str| map.get(name).and_then(Value::as_u64).unwrap_or(0);
        let mut totals = Self { runs: number("runs"), sum: Statistics::default() };
        for (name, field) in FIELDS {
            *field(&mut totals.sum) = number(name);
        }
        totals
    }

    /// Replaces the file as a whole, so that a run that is killed leaves the old one.
    fn write(mut self, folder: &Path) -> std::io::Result<()> {
        let mut map = Map::new();
        map.insert("runs".to_owned(), self.runs.into());
        for (name, field) in FIELDS {
            map.insert(name.to_owned(), (*field(&mut self.sum)).into());
        }
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, &map)?;
        file.write_all(b"\n")?;
        file.persist(path(folder)).map(drop).map_err(|error| error.error)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

#[cfg(test)]
mod tests {
    use oxifaster_store::Statistics;

    use super::{FILE, Totals};

    #[test]
    fn runs_add_up_and_a_damaged_file_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Totals::of(folder.path()), Totals::default());
        let mut run = Statistics { read_hits: 3, device_reads: 7, ..Statistics::default() };
        run.operations.reads = 5;
        Totals::add_run(folder.path(), run.clone());
        Totals::add_run(folder.path(), run.clone());
        let totals = Totals::of(folder.path());
        assert_eq!((totals.runs, totals.sum.operations.reads), (2, 10));
        assert_eq!((totals.sum.read_hits, totals.sum.device_reads, totals.sum.read_misses), (6, 14, 0));
        std::fs::write(folder.path().join(FILE), b"{").unwrap();
        assert_eq!(Totals::of(folder.path()), Totals::default());
        Totals::add_run(folder.path(), run);
        assert_eq!(Totals::of(folder.path()).runs, 1);
    }
}
