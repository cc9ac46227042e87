//! In-memory compaction: a store without a device gets the space of superseded and deleted records back.
//!
//! When no frame is free, whoever needs room takes the oldest page, copies its live records to the tail, and forgets it.
//! Two frames are kept aside for the copies, and the tail is *seized* meanwhile: nobody else appends, so that nobody can use
//! those frames up, and a page can always be copied whole. A round over all pages that makes no room means that the live
//! data fill the memory: an error, never a lost key.
//!
//! One page, one thread at a time (`Reclaim::running`); operations that need no space go on meanwhile:
//!
//! 1. Wait for all guards: every record of the page is complete, published or invalid.
//! 2. Seal the live records: the newest of their keys, no tombstone. Who is inside under a latch, or is removing the
//!    record by a seal of its own, is waited for.
//! 3. Wait for all guards: nobody changes a sealed record any more. Conditional operations wait, upserts append, reads read.
//! 4. Copy each record that is still the newest of its key, and publish the copy over the entry that the walk began at.
//! 5. Move `begin` and `head` behind the page, wait for all guards, zero the frame.
//!
//! Steps 2 and 4 look every key up: in groups, as batches do (`session::groups`), so that the buckets of a group, and the records
//! that they lead to, are on their way together.
//!
//! A newest record that is a tombstone is dropped: older versions of its key lie lower, on pages already forgotten. If the
//! store is closed on the way, the seals that are left are taken back.
//!
//! Why the frames kept aside are never used up: the live records of a page fit into one page, so copying takes one frame at
//! most and gives one back. Whoever appended before the seizure has published when the first drain ends; after that only
//! copies are published, so no copy loses a race but to a record that was written before.

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::epoch::{EpochGuard, Participant};
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hash::KeyHash;
use oxifaster_core::hlog::{LogState, SeizedTail, backoff};
use oxifaster_core::sync::{Mutex, canary};

use crate::operations::{Core, Key, Located, NewValue};
use crate::recovery::scan_page;
use crate::statistics::Operations;

/// Records whose buckets are asked for together.
const GROUP: usize = 32;

/// Hashes of the keys of a group, and memory for a key.
#[derive(Debug, Default)]
struct Probe {
    hashes: Vec<KeyHash>,
    key: Vec<u8>,
}

/// State of in-memory compaction.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    running: Mutex<Rounds>,
}

#[derive(Debug, Default)]
struct Rounds {
    /// Operations at the end of a round that freed nothing: without later ones, another round would free nothing either.
    full_at: Option<Operations>,
}

impl<K: PersistKey, V: PersistValue> Core<K, V> {
    /// Makes room in a log without a device. The caller holds no guard.
    ///
    /// # Errors
    /// `OutOfMemory` when the live records fill the memory; `Closed`.
    pub(crate) fn make_room_in_memory(&self, words: u64) -> Result<(), Error> {
        match self.log.make_room(words) {
            Err(error) if error.kind() == ErrorKind::OutOfMemory => {}
            other => return other,
        }
        let mut rounds = self.reclaim.running.lock();
        if rounds.full_at.is_some_and(|operations| operations == self.registry.sum().operations) {
            return self.log.make_room(words);
        }
        loop {
            // Others may have made room while this thread waited for its turn, or taken what it made.
            match self.log.make_room(words) {
                Err(error) if error.kind() == ErrorKind::OutOfMemory => {}
                other => {
                    rounds.full_at = None;
                    return other;
                }
            }
            if !self.reclaim_round(words)? {
                rounds.full_at = Some(self.registry.sum().operations);
                return Err(self.log.memory_is_full());
            }
        }
    }

    /// Reclaims pages until there is room for `words`; false when none of the pages there are made it.
    fn reclaim_round(&self, words: u64) -> Result<bool, Error> {
        let layout = self.log.layout();
        let mut participant = self.log.ring().epoch().register();
        let mut tail = self.log.seize_tail();
        for _ in 0..self.log.ring().frames() {
            if self.log.has_room_behind(&tail, words) {
                return Ok(true);
            }
            let page = layout.page_of(self.log.ring().head());
            if page >= tail.page() {
                return Ok(false);
            }
            self.reclaim_page(&mut participant, &mut tail, page)?;
        }
        Ok(self.log.has_room_behind(&tail, words))
    }

    /// Copies what is alive on the oldest page, and forgets the page.
    fn reclaim_page(
        &self,
        participant: &mut Participant,
        tail: &mut SeizedTail<'_>,
        page: u64,
    ) -> Result<(), Error> {
        self.log.drain_guards();
        let candidates = self.candidates(participant, page)?;
        let mut sealed = Vec::with_capacity(candidates.len());
        let copied = self.seal_each(participant, &candidates, &mut sealed).and_then(|()| {
            self.log.drain_guards();
            self.copy_each(participant, tail, &mut sealed)
        });
        match copied {
            Ok(()) => self.log.forget_pages_below(page + 1),
            Err(_) => {
                let guard = participant.enter();
                sealed.iter().for_each(|left| self.record(&guard, *left).unseal());
            }
        }
        copied
    }

    /// Seals the records that are alive, and lists them.
    fn seal_each(
        &self,
        participant: &mut Participant,
        candidates: &[Address],
        sealed: &mut Vec<Address>,
    ) -> Result<(), Error> {
        let mut probe = Probe::default();
        for group in candidates.chunks(GROUP) {
            self.announce(participant, group, &mut probe);
            for (address, hash) in group.iter().zip(&probe.hashes) {
                if self.seal_live(participant, *address, *hash, &mut probe.key)? {
                    sealed.push(*address);
                }
            }
        }
        Ok(())
    }

    /// Starts to bring what the look-ups of a group need into the cache.
    fn announce(&self, participant: &mut Participant, group: &[Address], probe: &mut Probe) {
        let guard = participant.enter();
        probe.hashes.clear();
        for address in group {
            self.record(&guard, *address).copy_key(&mut probe.key);
            let hash = self.hash.hash(&probe.key);
            self.index.prefetch(hash);
            probe.hashes.push(hash);
        }
        for hash in &probe.hashes {
            self.prefetch_record(self.index.candidate(*hash));
        }
    }

    /// Copies sealed records; leaves in the list what it did not come to.
    fn copy_each(
        &self,
        participant: &mut Participant,
        tail: &mut SeizedTail<'_>,
        sealed: &mut Vec<Address>,
    ) -> Result<(), Error> {
        let mut probe = Probe::default();
        sealed.reverse();
        while let Some(group) = sealed.rchunks(GROUP).next().map(<[Address]>::to_vec) {
            self.announce(participant, &group, &mut probe);
            for (address, hash) in group.iter().zip(&probe.hashes).rev() {
                self.copy_to_tail(participant, tail, *address, *hash, &mut probe.key)?;
                sealed.pop();
            }
        }
        Ok(())
    }

    /// The records of a page that are neither invalid nor tombstones.
    fn candidates(&self, participant: &mut Participant, page: u64) -> Result<Vec<Address>, Error> {
        let layout = self.log.layout();
        let guard = participant.enter();
        let words = self.log.ring().words(&guard, layout.start_of(page));
        let mut candidates = Vec::new();
        scan_page(page, layout, Self::LAYOUT, words, layout.page_words(), |address, record| {
            let info = record.info();
            if !info.is_invalid() && !info.is_tombstone() {
                candidates.push(address);
            }
            Ok(())
        })?;
        Ok(candidates)
    }

    /// Seals a record if it is alive; waits for whoever is inside.
    fn seal_live(
        &self,
        participant: &mut Participant,
        address: Address,
        hash: KeyHash,
        key: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let mut rounds = 0;
        loop {
            {
                let guard = participant.enter();
                let record = self.record(&guard, address);
                record.copy_key(key);
                let key = Key { bytes: key, hash };
                if record.info().is_tombstone() || !self.is_newest(&guard, key, address) {
                    return Ok(false);
                }
                if canary::armed("reclaim_without_seal") || record.try_seal() {
                    return Ok(true);
                }
            }
            // Whoever was inside may have left for good, its seal with it: a closed store lets nobody in again.
            if self.log.state() != LogState::Open {
                return Err(self.log.state_error());
            }
            backoff(&mut rounds);
        }
    }

    fn is_newest(&self, guard: &EpochGuard<'_>, key: Key<'_>, address: Address) -> bool {
        let Some(slot) = self.index.find(key.hash) else { return false };
        let head = self.log.ring().head();
        matches!(self.locate(guard, key, slot.address(), head), Located::Memory(found, _) if found == address)
    }

    /// Copies a sealed record, which can't change, to the tail, unless a newer one of its key was published.
    fn copy_to_tail(
        &self,
        participant: &mut Participant,
        tail: &mut SeizedTail<'_>,
        address: Address,
        hash: KeyHash,
        key: &mut Vec<u8>,
    ) -> Result<(), Error> {
        loop {
            let guard = participant.enter();
            self.record(&guard, address).copy_key(key);
            if self.try_copy(&guard, tail, address, Key { bytes: key, hash })? {
                return Ok(());
            }
        }
    }

    /// False when another thread published in the chain meanwhile: look again.
    fn try_copy(
        &self,
        guard: &EpochGuard<'_>,
        tail: &mut SeizedTail<'_>,
        address: Address,
        key: Key<'_>,
    ) -> Result<bool, Error> {
        let record = self.record(guard, address);
        let mut slot = self.index.find_or_create(key.hash);
        let head = self.log.ring().head();
        match self.locate(guard, key, slot.address(), head) {
            Located::Memory(found, _) if found == address => {}
            _ => return Ok(true),
        }
        let value = record.value_bytes_immutable()?;
        let size_words = self.record_words(key.bytes.len(), value.len())?;
        let Some(space) = tail.allocate(guard, size_words) else {
            return Err(self.log.memory_is_full());
        };
        let copy = self.prepare_at(guard, space, size_words, slot.address(), key, NewValue::Bytes(&value));
        if slot.compare_exchange(copy.address).is_ok() {
            return Ok(true);
        }
        copy.record.mark_invalid();
        Ok(false)
    }
}
