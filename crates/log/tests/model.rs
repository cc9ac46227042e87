//! Random plans on one log and on a list: appends, commits, cuts at both ends, restarts and power loss.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test, also in the functions that tests share"
)]

use oxifaster_core::Address;
use oxifaster_device::fault::{CrashFates, FaultDevice, FaultPlan};
use oxifaster_log::{FasterLog, FasterLogConfig};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Batch(Vec<usize>),
    Commit,
    Cookie(u8),
    /// Fractions of what is there.
    Front(u8),
    Suffix(u8),
    Close,
    Crash(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..900_usize).prop_map(Step::Append),
        1 => Just(Step::Append(4000)),
        2 => vec(0..90_usize, 1..20).prop_map(Step::Batch),
        4 => Just(Step::Commit),
        1 => any::<u8>().prop_map(Step::Cookie),
        1 => any::<u8>().prop_map(Step::Front),
        1 => any::<u8>().prop_map(Step::Suffix),
        1 => Just(Step::Close),
        1 => any::<u64>().prop_map(Step::Crash),
    ];
    vec(step, 1..70)
}

/// What must be there.
#[derive(Default)]
struct Model {
    /// All entries that are not truncated.
    entries: Vec<(Address, Vec<u8>)>,
    /// How many of them are committed.
    committed: usize,
    first: u64,
    cookie: Vec<u8>,
    made: u64,
}

impl Model {
    fn next(&mut self, len: usize) -> Vec<u8> {
        self.made += 1;
        (0..len as u64).map(|place| (self.made.wrapping_mul(31) ^ place).to_le_bytes()[0]).collect()
    }

    fn check(&self, log: &FasterLog) {
        let found: Vec<_> = log.scan(..).map(Result::unwrap).collect();
        assert!(found == self.entries[..self.committed], "{} of {} entries", found.len(), self.committed);
        assert_eq!(log.first_entry_number(), self.first);
        assert_eq!(log.commit_info().cookie, self.cookie);
        log.self_check().unwrap();
        for (number, (address, bytes)) in (self.first..).zip(&self.entries[..self.committed]).step_by(7) {
            assert_eq!(log.address_of(number).unwrap(), Some(*address));
            assert_eq!(log.read_entry(*address).unwrap().as_ref(), Some(bytes));
        }
    }
}

fn place(fraction: u8, len: usize) -> usize {
    usize::from(fraction) * len / 256
}

fn play(steps: Vec<Step>) {
    let config = || FasterLogConfig::default().with_page_size(4096).with_memory_pages(8);
    // What was executed survives: so a crash may leave more than was committed, and it must be cut off.
    let device = FaultDevice::with_plan(1, FaultPlan::new().crash_fates(CrashFates::KEEP_ALL));
    let disk = device.disk();
    let mut log = FasterLog::open(config(), device).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(len) => {
                let bytes = model.next(len);
                model.entries.push((log.append(&bytes).unwrap(), bytes));
            }
            Step::Batch(lens) => {
                let batch: Vec<Vec<u8>> = lens.into_iter().map(|len| model.next(len)).collect();
                model.entries.extend(log.append_batch(&batch).unwrap().into_iter().zip(batch));
            }
            Step::Commit => {
                let info = log.commit().unwrap();
                model.committed = model.entries.len();
                assert_eq!(info.entries, model.first + model.committed as u64);
            }
            Step::Cookie(cookie) => {
                log.commit_with_cookie(&[cookie]).unwrap();
                model.committed = model.entries.len();
                model.cookie = vec![cookie];
            }
            Step::Front(fraction) => {
                let first = place(fraction, model.committed);
                if let Some((address, _)) = model.entries[..model.committed].get(first) {
                    log.truncate_before(*address).unwrap();
                    model.entries.drain(..first);
                    model.committed -= first;
                    model.first += first as u64;
                }
            }
            Step::Suffix(fraction) => {
                let keep = place(fraction, model.entries.len());
                if let Some((address, _)) = model.entries.get(keep) {
                    log.truncate_suffix(*address).unwrap();
                    model.entries.truncate(keep);
                    model.committed = keep;
                }
            }
            Step::Close => {
                log.close().unwrap();
                drop(log);
                model.committed = model.entries.len();
                log = FasterLog::open(config(), disk.open().unwrap()).unwrap();
            }
            Step::Crash(seed) => {
                let device = disk.crash(seed);
                drop(log);
                model.entries.truncate(model.committed);
                log = FasterLog::open(config(), device).unwrap();
            }
        }
        model.check(&log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list(steps in steps()) {
        play(steps);
    }
}
