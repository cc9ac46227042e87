//! In-memory compaction: a store without a device gets the space of superseded and deleted records back.
//!
//! When no frame is free, whoever needs room takes the oldest page, copies its live records to the tail, and forgets it.
//! Two frames are kept aside for the copies, so that a page can always be copied whole. A round over all pages that frees
//! nothing means that the live data fill the memory: an error, never a lost key.
//!
//! One page, one thread at a time (`Reclaim::running`); other operations go on meanwhile:
//!
//! 1. Wait for all guards: every record of the page is complete, published or invalid.
//! 2. Seal the live records: the newest of their keys, no tombstone. Who is inside under a latch, or is removing the
//!    record by a seal of its own, is waited for.
//! 3. Wait for all guards: nobody changes a sealed record any more. Conditional operations wait, upserts append, reads read.
//! 4. Copy each record that is still the newest of its key, and publish the copy over the entry that the walk began at.
//! 5. Move `begin` and `head` behind the page, wait for all guards, zero the frame.
//!
//! A newest record that is a tombstone is dropped: older versions of its key lie lower, on pages already forgotten. If the
//! copies find no room (which the frames kept aside exclude), the seals that are left are taken back.

use oxifaster_core::Address;
use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::epoch::{EpochGuard, Participant};
use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hlog::backoff;
use oxifaster_core::sync::Mutex;

use crate::operations::{Core, Key, Located, NewValue, Obstacle, Step};
use crate::recovery::scan_page;
use crate::statistics::Operations;

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

/// What became of a record to be copied.
enum Copy {
    Done,
    /// Another thread published in its chain: look again.
    Again,
    NoRoom(u64),
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
        let layout = self.log.layout();
        let mut participant = self.log.ring().epoch().register();
        for _ in 0..self.log.ring().frames() {
            match self.log.make_room(words) {
                Err(error) if error.kind() == ErrorKind::OutOfMemory => {}
                other => {
                    rounds.full_at = None;
                    return other;
                }
            }
            let page = layout.page_of(self.log.ring().head());
            if page >= layout.page_of(self.log.ring().tail()) {
                break;
            }
            self.reclaim_page(&mut participant, page)?;
        }
        let made = self.log.make_room(words);
        rounds.full_at = made.is_err().then(|| self.registry.sum().operations);
        made
    }

    /// Copies what is alive on the oldest page, and forgets the page.
    fn reclaim_page(&self, participant: &mut Participant, page: u64) -> Result<(), Error> {
        self.log.drain_guards();
        let candidates = self.candidates(participant, page)?;
        let mut sealed = Vec::with_capacity(candidates.len());
        for address in candidates {
            if self.seal_live(participant, address)? {
                sealed.push(address);
            }
        }
        self.log.drain_guards();
        let mut sealed = sealed.into_iter();
        while let Some(address) = sealed.next() {
            if let Err(error) = self.copy_to_tail(participant, address) {
                let guard = participant.enter();
                for left in std::iter::once(address).chain(sealed) {
                    self.record(&guard, left).unseal();
                }
                return Err(error);
            }
        }
        self.log.forget_pages_below(page + 1);
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
    fn seal_live(&self, participant: &mut Participant, address: Address) -> Result<bool, Error> {
        let mut key = Vec::new();
        let mut rounds = 0;
        loop {
            {
                let guard = participant.enter();
                let record = self.record(&guard, address);
                record.copy_key(&mut key);
                if record.info().is_tombstone() || !self.is_newest(&guard, &key, address) {
                    return Ok(false);
                }
                if record.try_seal() {
                    return Ok(true);
                }
            }
            backoff(&mut rounds);
        }
    }

    fn is_newest(&self, guard: &EpochGuard<'_>, key: &[u8], address: Address) -> bool {
        let key = Key::of(self, key);
        let Some(slot) = self.index.find(key.hash) else { return false };
        let head = self.log.ring().head();
        matches!(self.locate(guard, key, slot.address(), head), Located::Memory(found, _) if found == address)
    }

    /// Copies a sealed record, which can't change, to the tail, unless a newer one of its key was published.
    fn copy_to_tail(&self, participant: &mut Participant, address: Address) -> Result<(), Error> {
        loop {
            let copied = {
                let guard = participant.enter();
                self.try_copy(&guard, address)?
            };
            match copied {
                Copy::Done => return Ok(()),
                Copy::Again => {}
                Copy::NoRoom(words) => self.log.make_room_for_compaction(words)?,
            }
        }
    }

    fn try_copy(&self, guard: &EpochGuard<'_>, address: Address) -> Result<Copy, Error> {
        let record = self.record(guard, address);
        let mut bytes = Vec::new();
        record.copy_key(&mut bytes);
        let key = Key::of(self, &bytes);
        let mut slot = self.index.find_or_create(key.hash);
        let head = self.log.ring().head();
        match self.locate(guard, key, slot.address(), head) {
            Located::Memory(found, _) if found == address => {}
            _ => return Ok(Copy::Done),
        }
        let value = record.value_bytes_immutable()?;
        let prepared = match self.prepare(guard, &slot, key, NewValue::Bytes(&value))? {
            Step::Done(prepared) => prepared,
            Step::Blocked(Obstacle::Room(words)) => return Ok(Copy::NoRoom(words)),
            Step::Blocked(_) => return Ok(Copy::Again),
        };
        if slot.compare_exchange(prepared.address).is_ok() {
            return Ok(Copy::Done);
        }
        prepared.record.mark_invalid();
        Ok(Copy::Again)
    }
}
