//! The production record under loom: every interleaving of few threads on one record, and the mistakes that must show.
//!
//! The models play the parts of the store's operations with the calls that those use: copy, decide, latch, check, write;
//! supersede and seal; delete. `entry` stands for the index entry. Values are two words, so that half of one shows.

use loom::sync::Arc;
use loom::thread;

use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

use super::{LatchError, RecordFlags, RecordLayout, RecordRef, WordBuffer};
use crate::address::Address;
use crate::epoch::{FenceForm, LightEpoch};
use crate::mutation::{Mutation, model_with};

const PREEMPTIONS: usize = 3;

/// A store in small: an index entry that names one of two records of one key.
struct World {
    layout: RecordLayout,
    entry: AtomicU64,
    records: [Vec<AtomicU64>; 2],
}

impl World {
    /// Record 0 is live and holds `value`; record 1 is unused space of the same size.
    fn new(layout: RecordLayout, value: &[u8]) -> Arc<Self> {
        let size = layout.size_words(0, 16).unwrap();
        let words = || (0..size).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        let world = Self { layout, entry: AtomicU64::new(0), records: [words(), words()] };
        world.record(0).write_new(Address::NULL, &[], value, RecordFlags::NONE);
        Arc::new(world)
    }

    fn fixed() -> Arc<Self> {
        Self::new(RecordLayout::of::<(), [u64; 2]>(), &pair(0))
    }

    fn varlen() -> Arc<Self> {
        Self::new(RecordLayout::of::<(), Vec<u8>>(), &[0; 8])
    }

    fn word() -> Arc<Self> {
        Self::new(RecordLayout::of::<(), u64>(), &[0; 8])
    }

    fn record(&self, place: u64) -> RecordRef<'_> {
        RecordRef::new(&self.records[usize::try_from(place).unwrap()], self.layout)
    }

    /// The record that the entry names. Acquire pairs with the publication.
    fn current(&self) -> RecordRef<'_> {
        self.record(self.entry.load(Ordering::Acquire))
    }

    /// One attempt to add one to both halves in place.
    fn try_increment(&self, record: RecordRef<'_>) -> Result<(), LatchError> {
        let mut copy = WordBuffer::default();
        let snapshot = record.read_value(&mut copy).ok_or(LatchError::Busy)?;
        let new = pair(value_of(copy.bytes()) + 1);
        let latched = record.try_latch()?;
        if !latched.value_unchanged_since(snapshot.sequence) {
            return Err(LatchError::Busy);
        }
        latched.write_value(&new);
        Ok(())
    }

    /// Adds one, wherever the key's record is by now.
    fn increment(&self) {
        loop {
            match self.try_increment(self.current()) {
                Ok(()) => return,
                // The refusal shows the successor: nobody has to look twice.
                Err(LatchError::Sealed) => {
                    assert_eq!(self.entry.load(Ordering::Relaxed), 1, "model: sealed without a successor");
                }
                Err(_) => thread::yield_now(),
            }
        }
    }

    /// Adds one by superseding record 0 with record 1; true when that took effect.
    fn supersede(&self) -> bool {
        let (old, new) = (self.record(0), self.record(1));
        let mut copy = WordBuffer::default();
        let Some(snapshot) = old.read_value(&mut copy) else { return false };
        new.write_new(Address::NULL, &[], &pair(value_of(copy.bytes()) + 1), RecordFlags::NONE);
        let Ok(latched) = old.try_latch() else { return false };
        if !latched.value_unchanged_since(snapshot.sequence) {
            return false;
        }
        if self.entry.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return false;
        }
        latched.seal();
        true
    }

    fn value(&self) -> u64 {
        let mut copy = WordBuffer::default();
        self.current().read_value(&mut copy).expect("nobody writes any more");
        value_of(copy.bytes())
    }
}

fn pair(value: u64) -> [u8; 16] {
    bytemuck::cast([value, value])
}

/// The value of two equal halves.
fn value_of(bytes: &[u8]) -> u64 {
    let halves: [u64; 2] = bytemuck::pod_read_unaligned(bytes);
    assert_eq!(halves[0], halves[1], "model: half of a value");
    halves[0]
}

fn spawn<T: 'static>(world: &Arc<World>, body: impl FnOnce(&World) -> T + 'static) -> thread::JoinHandle<T> {
    let world = Arc::clone(world);
    thread::spawn(move || body(&world))
}

/// Runs the model as it is, and with each of the mistakes.
fn check(mistakes: &[Mutation], model: fn()) {
    model_with(mistakes, PREEMPTIONS, model);
}

#[test]
fn torn_value() {
    check(
        &[
            Mutation::RecordWriteWithoutFence,
            Mutation::RecordEvenRelaxed,
            Mutation::RecordSequenceRelaxed,
            Mutation::RecordReadWithoutFence,
            Mutation::RecordReadWithoutRecheck,
        ],
        || {
            let world = World::fixed();
            let writer = spawn(&world, |world| world.record(0).try_latch().unwrap().write_value(&pair(1)));
            let mut copy = WordBuffer::default();
            if world.record(0).read_value(&mut copy).is_some() {
                assert!(value_of(copy.bytes()) <= 1, "model: a value nobody wrote");
            }
            writer.join().unwrap();
        },
    );
}

#[test]
fn torn_value_of_changing_length() {
    check(
        &[
            Mutation::RecordWriteWithoutFence,
            Mutation::RecordEvenRelaxed,
            Mutation::RecordReadWithoutFence,
            Mutation::RecordReadWithoutRecheck,
        ],
        || {
            let world = World::varlen();
            let writer = spawn(&world, |world| world.record(0).try_latch().unwrap().write_value(&[1; 16]));
            let mut copy = WordBuffer::default();
            if world.record(0).read_value(&mut copy).is_some() {
                let bytes = copy.bytes();
                assert!(bytes == [0; 8] || bytes == [1; 16], "model: a value nobody wrote: {bytes:?}");
            }
            writer.join().unwrap();
        },
    );
}

#[test]
fn lost_rmw_in_place() {
    check(
        &[Mutation::RecordLatchRelaxed, Mutation::RecordLatchShared, Mutation::RecordUpdateUnchecked],
        || {
            let world = World::fixed();
            let other = spawn(&world, World::increment);
            world.increment();
            other.join().unwrap();
            assert_eq!(world.value(), 2, "model: an update was lost");
        },
    );
}

/// Writers that don't look at the value before: each needs the former one's sequence all the same.
#[test]
fn blind_writers() {
    check(
        &[Mutation::RecordLatchRelaxed, Mutation::RecordUnlatchRelaxed, Mutation::RecordLatchShared],
        || {
            let write = |world: &World, value| match world.record(0).try_latch() {
                Ok(latched) => {
                    latched.write_value(&pair(value));
                    1
                }
                Err(_) => 0,
            };
            let world = World::fixed();
            let other = spawn(&world, move |world| write(world, 1));
            let writes = write(&world, 2) + other.join().unwrap();
            let mut copy = WordBuffer::default();
            let snapshot = world.record(0).read_value(&mut copy);
            assert_eq!(
                snapshot.map(|snapshot| snapshot.sequence),
                Some(2 * writes),
                "model: the sequence went astray"
            );
            assert!([1, 2].contains(&value_of(copy.bytes())), "model: a value nobody wrote");
        },
    );
}

#[test]
fn lost_rmw_superseded() {
    check(
        &[
            Mutation::RecordSupersedeWithoutSeal,
            Mutation::RecordUpdateUnchecked,
            Mutation::RecordLatchShared,
            Mutation::RecordSealSeenRelaxed,
            Mutation::RecordUnlatchRelaxed,
        ],
        || {
            let world = World::fixed();
            let copier = spawn(&world, World::supersede);
            world.increment();
            let superseded = copier.join().unwrap();
            assert_eq!(world.value(), 1 + u64::from(superseded), "model: an update was lost");
        },
    );
}

/// The publication fails because another record of the chain came first: the old record stays as it was, unlatched.
#[test]
fn superseding_and_losing_leaves_no_trace() {
    check(&[], || {
        let world = World::fixed();
        let chain = spawn(&world, |world| {
            world.entry.compare_exchange(0, 2, Ordering::AcqRel, Ordering::Acquire).is_ok()
        });
        let superseded = world.supersede();
        let chained = chain.join().unwrap();
        assert!(chained != superseded, "model: one of the two publications fails");
        let old = world.record(0);
        let refusal = superseded.then_some(LatchError::Sealed);
        assert_eq!(old.try_latch().err(), refusal, "model: the loser left something behind");
    });
}

#[test]
fn tombstone_against_rmw() {
    check(&[Mutation::RecordLatchIgnoresTombstone, Mutation::RecordLatchShared], || {
        let world = World::fixed();
        // The updater is the spawned thread: loom does not begin with the spawned one, and the delete has to come first once.
        let updater = spawn(&world, |world| {
            let deleted_before = world.record(0).info().is_tombstone();
            let updated = world.try_increment(world.record(0));
            (deleted_before, updated, world.record(0).info().is_tombstone())
        });
        let deleted = world.record(0).try_set_tombstone();
        let (deleted_before, updated, deleted_after) = updater.join().unwrap();
        let record = world.record(0);
        assert_eq!(record.info().is_tombstone(), deleted, "model: the tombstone was lost");
        assert!(!record.info().is_latched(), "model: the latch was left behind");
        assert_eq!(world.value(), u64::from(updated.is_ok()), "model: the update was lost");
        match updated {
            Ok(()) => assert!(!deleted_before, "model: a deleted record was updated"),
            Err(LatchError::Tombstone) => assert!(deleted_after, "model: refused without a tombstone"),
            Err(refusal) => assert_eq!(refusal, LatchError::Busy, "model: refused without a reason"),
        }
        assert!(deleted || updated.is_ok(), "model: both gave way");
    });
}

/// A word record, latched as in the phases other than REST, against a delete and a removal that do not latch.
#[test]
fn header_bits_of_a_word_record() {
    check(&[Mutation::RecordBitsIgnoreLatch], || {
        let world = World::word();
        let copier = spawn(&world, |world| world.record(0).try_latch().map(super::Latched::seal).is_ok());
        let deleted = world.record(0).try_set_tombstone();
        let sealed = copier.join().unwrap();
        let info = world.record(0).info();
        assert_eq!(
            (info.is_tombstone(), info.is_sealed()),
            (deleted, sealed),
            "model: a header bit was lost"
        );
        assert!(!(deleted && sealed), "model: a deleted record was copied, or a copied one deleted");
    });
}

#[test]
fn removal_and_delete_of_a_word_record() {
    check(&[], || {
        let world = World::word();
        let remover = spawn(&world, |world| world.record(0).try_seal());
        let deleted = world.record(0).try_set_tombstone();
        assert!(deleted != remover.join().unwrap(), "model: not exactly one of them has the record");
    });
}

/// `remove` of a word record: seal, wait for all who may have seen it unsealed, read, set the tombstone. In REST an update
/// looks at the header and then changes the word with one instruction, under one guard: the removed value has every
/// update that took effect.
#[test]
fn removal_and_updates_of_a_word_record() {
    let mistakes =
        [Mutation::EpochWaitsForNobody, Mutation::EpochBumpWithoutFence, Mutation::EpochLeaveRelaxed];
    check(&mistakes, || {
        let (world, epoch) = (World::word(), LightEpoch::with_fences(FenceForm::Symmetric));
        let mut participant = epoch.register();
        let updater = spawn(&world, move |world| {
            let mut updates = 0;
            for _ in 0..2 {
                let _guard = participant.enter();
                let info = world.record(0).info();
                if !info.is_sealed() && !info.is_tombstone() {
                    let _before = world.record(0).fetch_add_word(1);
                    updates += 1;
                }
            }
            (updates, participant)
        });
        assert!(world.record(0).try_seal(), "model: nobody else seals");
        epoch.wait_until_safe(epoch.bump());
        let removed = world.record(0).load_word_value();
        world.record(0).set_tombstone_sealed();
        let (updates, _participant) = updater.join().unwrap();
        assert_eq!(removed, Some(updates), "model: an update was lost with the removed record");
    });
}
