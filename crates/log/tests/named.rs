//! Named iterators: the place that was completed survives with a commit; nothing is skipped, whatever happens in between.
#![expect(
    clippy::unwrap_used,
    reason = "a panic here is a failed test, also in the functions that tests share"
)]

use std::collections::BTreeMap;

use oxifaster_core::ErrorKind;
use oxifaster_device::fault::FaultDevice;
use oxifaster_log::{FasterLog, FasterLogConfig};
use proptest::prelude::*;

fn open(device: &FaultDevice) -> FasterLog {
    let config = FasterLogConfig::default().with_page_size(4096).with_memory_pages(16);
    FasterLog::open(config, device.clone()).unwrap()
}

#[test]
fn the_completed_place_survives_and_a_name_has_one_iterator() {
    let device = FaultDevice::new(1);
    let log = open(&device);
    for number in 0..10_u8 {
        log.append(&[number]).unwrap();
    }
    log.commit().unwrap();
    let mut mailer = log.named_iterator("mailer").unwrap();
    assert_eq!(log.named_iterator("mailer").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(log.forget_iterator("mailer").is_err());
    for number in 0..4 {
        assert_eq!(mailer.try_next().unwrap().unwrap().1, [number]);
    }
    mailer.complete().unwrap();
    assert_eq!(mailer.completed(), mailer.position());
    mailer.try_next().unwrap();
    assert!(mailer.completed() < mailer.position());
    drop(mailer);
    let mut other = log.named_iterator("other").unwrap();
    assert_eq!(other.try_next().unwrap().unwrap().1, [0]);
    drop(other);
    log.close().unwrap();
    drop(log);
    let log = open(&device.reopen());
    assert_eq!(log.named_iterator("mailer").unwrap().try_next().unwrap().unwrap().1, [4]);
    assert_eq!(log.named_iterator("other").unwrap().try_next().unwrap().unwrap().1, [0]);
    log.forget_iterator("other").unwrap();
    log.commit().unwrap();
    assert_eq!(log.position("other"), None);
    let error = log.named_iterator(&"x".repeat(65)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_truncated_place_moves_to_the_begin() {
    let device = FaultDevice::new(1);
    let log = open(&device);
    let addresses: Vec<_> = (0..10_u8).map(|number| log.append(&[number]).unwrap()).collect();
    drop(log.named_iterator("slow").unwrap());
    log.commit().unwrap();
    log.truncate_before(addresses[6]).unwrap();
    assert_eq!(log.named_iterator("slow").unwrap().try_next().unwrap().unwrap().1, [6]);
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Commit,
    Read(u8),
    Complete,
    DropIterator,
    PowerLoss(u64),
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20_u8).prop_map(Step::Append),
        4 => Just(Step::Commit),
        6 => (1..20_u8).prop_map(Step::Read),
        3 => Just(Step::Complete),
        1 => Just(Step::DropIterator),
        1 => any::<u64>().prop_map(Step::PowerLoss),
        1 => Just(Step::Kill),
    ]
}

/// A log and its one consumer, which remembers what it completed.
struct Scene {
    device: FaultDevice,
    log: FasterLog,
    /// Of each entry that was committed: whether it was dealt with.
    handled: BTreeMap<u64, bool>,
    returned: Vec<u64>,
    next: u64,
}

impl Scene {
    /// Uses the iterator until something ends it.
    fn consume(&mut self, steps: &mut impl Iterator<Item = Step>) -> Option<Step> {
        let mut iterator = self.log.named_iterator("consumer").unwrap();
        loop {
            match steps.next()? {
                Step::Append(count) => {
                    for _ in 0..count {
                        self.log.append(&self.next.to_le_bytes()).unwrap();
                        self.next += 1;
                    }
                }
                Step::Commit => drop(self.log.commit().unwrap()),
                Step::Read(count) => {
                    for _ in 0..count {
                        let Some((_, entry)) = iterator.try_next().unwrap() else { break };
                        let number = u64::from_le_bytes(entry.try_into().unwrap());
                        let expected = match self.returned.last() {
                            Some(last) => last + 1,
                            None => (0..).find(|number| self.handled.get(number) != Some(&true)).unwrap(),
                        };
                        assert!(number <= expected, "entry {expected} was skipped: {number} came");
                        assert!(self.returned.is_empty() || number == expected);
                        self.returned.push(number);
                        self.handled.entry(number).or_default();
                    }
                }
                Step::Complete => {
                    iterator.complete().unwrap();
                    for number in &self.returned {
                        self.handled.insert(*number, true);
                    }
                }
                crash => {
                    self.returned.clear();
                    return Some(crash);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn at_least_once_and_never_skipping(steps in proptest::collection::vec(step(), 1..80)) {
        let device = FaultDevice::new(1);
        let mut scene = Scene {
            log: open(&device),
            device,
            handled: BTreeMap::new(),
            returned: Vec::new(),
            next: 0,
        };
        let mut steps = steps.into_iter();
        while let Some(crash) = scene.consume(&mut steps) {
            let device = match crash {
                Step::PowerLoss(seed) => scene.device.crash(seed),
                Step::Kill => scene.device.reopen(),
                _ => continue,
            };
            scene.log = open(&device);
            scene.device = device;
            // What was not committed is gone, and its numbers are given again.
            scene.next = scene.log.commit_info().entries;
            scene.handled.retain(|number, _| *number < scene.next);
        }
        // In the end everything that was committed was returned at least once.
        scene.log.commit().unwrap();
        let mut iterator = scene.log.named_iterator("consumer").unwrap();
        while let Some((_, entry)) = iterator.try_next().unwrap() {
            scene.handled.insert(u64::from_le_bytes(entry.try_into().unwrap()), true);
        }
        prop_assert_eq!(scene.handled.len() as u64, scene.next);
        prop_assert!(scene.handled.values().all(|handled| *handled));
    }
}

#[test]
fn an_iterator_that_is_opened_again_before_a_commit_does_not_go_back() {
    let device = FaultDevice::new(1);
    let log = open(&device);
    for number in 0..10 {
        log.append(&[number]).unwrap();
    }
    log.commit().unwrap();
    let mut iterator = log.named_iterator("consumer").unwrap();
    for _ in 0..4 {
        iterator.try_next().unwrap().unwrap();
    }
    iterator.complete().unwrap();
    drop(iterator);
    // Opened and dropped, nothing done; and the same once more, with a step.
    let iterator = log.named_iterator("consumer").unwrap();
    assert_eq!(iterator.completed(), iterator.position());
    drop(iterator);
    let mut iterator = log.named_iterator("consumer").unwrap();
    assert_eq!(iterator.try_next().unwrap().unwrap().1, [4]);
    drop(iterator);
    log.commit().unwrap();
    assert_eq!(log.named_iterator("consumer").unwrap().try_next().unwrap().unwrap().1, [4]);
    drop(log);
    assert_eq!(
        open(&device.reopen()).named_iterator("consumer").unwrap().try_next().unwrap().unwrap().1,
        [4]
    );
}

#[test]
fn a_cut_takes_what_an_iterator_had_completed_and_nothing_else() {
    let device = FaultDevice::new(1);
    let log = open(&device);
    let addresses: Vec<_> = (0..10_u8).map(|number| log.append(&[number]).unwrap()).collect();
    log.commit().unwrap();
    let mut iterator = log.named_iterator("consumer").unwrap();
    for _ in 0..8 {
        iterator.try_next().unwrap().unwrap();
    }
    iterator.complete().unwrap();
    log.commit().unwrap();
    log.truncate_suffix(addresses[6]).unwrap();
    // Nothing was asked for since the cut: the iterator stands where it stood, and the log keeps the place of the cut.
    iterator.complete().unwrap();
    log.commit().unwrap();
    assert_eq!(log.position("consumer"), Some(addresses[6]));
    assert!(iterator.completed() > addresses[6]);
    let instead = log.append(&[60]).unwrap();
    log.commit().unwrap();
    assert_eq!(iterator.try_next().unwrap().unwrap(), (instead, vec![60]));
    assert!(iterator.completed() < instead);
    // A consumer that is opened again sees neither what it completed nor what was dropped.
    drop(log);
    let log = open(&device.reopen());
    assert_eq!(log.named_iterator("consumer").unwrap().try_next().unwrap().unwrap(), (instead, vec![60]));
}
