//! What one operation does to the images, and which fault hits it.
//!
//! Callers: `queue` and `device`, always with the device's one lock held, so every operation is atomic towards all others.
//!
//! | field | who changes it |
//! |---|---|
//! | `newest` | executed writes, truncations, metadata writes, raw access; every read looks here |
//! | `unsynced` | executed changes, in order; a sync takes the front off, a failed one throws it away |
//! | `in_flight` | delayed writes, from their start to their execution; only a crash looks here |
//! | `durable` | a successful sync, a metadata write, raw access |
//!
//! Invariant: `durable` with all of `unsynced` applied is `newest`, except for what failed syncs threw away and what raw
//! access changed.

use std::collections::BTreeMap;

use super::SECTOR_BYTES;
use super::counts::{FaultCounts, Traffic};
use super::crash::{Change, Effect, image_after_crash};
use super::image::{Image, Patch, SECTORS_PER_BLOCK, keep_front, tear};
use super::plan::{Delay, FaultPlan};
use super::random::Random;
use crate::BLOCK_BYTES;
use crate::device::{Geometry, METADATA_SLOT_BYTES, MetadataSlot, SpaceUse};
use crate::error::{DeviceError, DeviceErrorKind};
use crate::queue::IoBuffer;
use crate::sync::atomic::Ordering;

/// Whether operations are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// They are.
    Open,
    /// A crash point was reached.
    PowerLost,
    /// The handle was closed, or its image moved on to another device.
    Closed,
}

/// Everything behind the lock of one device.
#[derive(Debug)]
pub(super) struct State {
    pub(super) life: Life,
    pub(super) plan: FaultPlan,
    pub(super) random: Random,
    pub(super) counts: FaultCounts,
    pub(super) traffic: Traffic,
    pub(super) geometry: Geometry,
    poisoned: bool,
    newest: Image,
    durable: Image,
    unsynced: Vec<Change>,
    in_flight: BTreeMap<u64, Change>,
    /// The sequence number that the next change gets.
    next_sequence: u64,
    /// Bits to flip in the next read that covers them: offset and bit.
    pending_flips: Vec<(u64, u8)>,
}

impl State {
    /// A device that was never written.
    pub(super) fn new(seed: u64, plan: FaultPlan) -> Self {
        Self::with_images(Random::new(seed), plan, Image::default(), Image::default())
    }

    fn with_images(random: Random, plan: FaultPlan, newest: Image, durable: Image) -> Self {
        let mut state = Self {
            life: Life::Open,
            plan: plan.installed(),
            random,
            counts: FaultCounts::default(),
            traffic: Traffic::default(),
            geometry: Geometry { reserved_bytes: 0, capacity_bytes: 1 << 62, persistent: true },
            poisoned: false,
            newest,
            durable,
            unsynced: Vec::new(),
            in_flight: BTreeMap::new(),
            next_sequence: 0,
            pending_flips: Vec::new(),
        };
        state.look_for_crash_point();
        state
    }

    /// The device that a power loss leaves. This one is closed.
    pub(super) fn crash(&mut self, seed: u64) -> State {
        self.life = Life::Closed;
        let mut random = Random::new(seed);
        let mut counts = self.counts;
        counts.crashes += 1;
        let changes = self.unsynced.iter().chain(self.in_flight.values());
        let image = image_after_crash(&self.durable, changes, self.plan.fates, &mut random, &mut counts);
        let mut state = Self::with_images(random, self.plan.after_restart(), image.clone(), image);
        state.counts = counts;
        state.traffic = self.traffic;
        state.geometry = self.geometry;
        state
    }

    /// The device that a killed process leaves: what was executed is there, and still not durable. This one is closed.
    pub(super) fn reopen(&mut self) -> State {
        self.life = Life::Closed;
        let plan = self.plan.after_restart();
        let mut state =
            Self::with_images(self.random.clone(), plan, self.newest.clone(), self.durable.clone());
        state.unsynced = self.unsynced.clone();
        state.next_sequence = self.next_sequence;
        state.counts = self.counts;
        state.traffic = self.traffic;
        state.geometry = self.geometry;
        state
    }

    /// A device that holds exactly what is durable now. This one goes on.
    pub(super) fn snapshot_durable(&self) -> State {
        let plan = self.plan.after_restart();
        let mut state =
            Self::with_images(self.random.clone(), plan, self.durable.clone(), self.durable.clone());
        state.geometry = self.geometry;
        state
    }

    /// Installs a plan; power may be lost at once.
    pub(super) fn install(&mut self, plan: FaultPlan) {
        self.plan = plan.installed();
        self.look_for_crash_point();
    }

    /// Ends the life of an open device. One that lost power stays so.
    pub(super) fn close(&mut self) {
        if self.life == Life::Open {
            self.life = Life::Closed;
        }
    }

    /// The error of a device that is not open.
    pub(super) fn check_open(&mut self) -> Result<(), DeviceError> {
        let message = match self.life {
            Life::Open => return Ok(()),
            Life::PowerLost => "power was lost at the planned crash point",
            Life::Closed => "the device was closed, or crashed and lives on under another handle",
        };
        self.counts.closed_refusals += 1;
        Err(DeviceError::new(DeviceErrorKind::Closed, message))
    }

    fn check_not_poisoned(&mut self) -> Result<(), DeviceError> {
        if !self.poisoned {
            return Ok(());
        }
        self.counts.poisoned_refusals += 1;
        Err(DeviceError::new(
            DeviceErrorKind::Poisoned,
            "a sync failed before: nothing is written any more, close and reopen",
        ))
    }

    fn look_for_crash_point(&mut self) {
        if self.life == Life::Open && self.plan.power_is_lost() {
            self.lose_power();
        }
    }

    fn lose_power(&mut self) {
        self.life = Life::PowerLost;
        self.counts.crash_points += 1;
    }

    fn count(&mut self, operation: Traffic) {
        self.traffic += operation;
        self.plan.done += operation;
    }

    fn record(&mut self, effect: Effect) {
        effect.apply(&mut self.newest);
        self.unsynced.push(Change { sequence: self.next_sequence, effect });
        self.next_sequence += 1;
    }

    /// Shuffles a batch if the plan says so.
    pub(super) fn shuffle<T>(&mut self, batch: &mut [T]) {
        if self.plan.shuffles(&mut self.random) && self.random.shuffle(batch) {
            self.counts.reordered_batches += 1;
        }
    }

    /// How long the request that starts now is delayed, if it is.
    pub(super) fn draw_delay(&mut self) -> Option<Delay> {
        let delay = self.plan.draw_delay(&mut self.random);
        self.counts.delayed += u64::from(delay.is_some());
        delay
    }

    /// The position of a sync that is submitted now: it covers what was executed before.
    pub(super) fn position(&self) -> u64 {
        self.next_sequence
    }

    /// Remembers a write that starts now and is executed later; returns its number.
    pub(super) fn begin_write(&mut self, offset: u64, buffer: &IoBuffer) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let effect = Effect::Write(Patch::copy_of(offset, buffer.words()));
        self.in_flight.insert(sequence, Change { sequence, effect });
        sequence
    }

    /// The blocks of a write that [`begin_write`](Self::begin_write) started. A closed device keeps them for its crash.
    pub(super) fn take_started(&mut self, number: u64) -> Option<Vec<Patch>> {
        if self.life != Life::Open {
            return None;
        }
        match self.in_flight.remove(&number)?.effect {
            Effect::Write(patches) => Some(patches),
            Effect::CutBefore(_) | Effect::CutAfter(_) => None,
        }
    }

    /// Executes a block read; the result is the number of bytes that moved.
    pub(super) fn read(&mut self, offset: u64, buffer: &IoBuffer) -> Result<usize, DeviceError> {
        self.check_open()?;
        self.count(Traffic { reads: 1, ..Traffic::default() });
        if self.plan.read_errors.fires(&mut self.random) {
            self.counts.read_errors += 1;
            return Err(injected("read").at_offset(offset));
        }
        let existing = self.newest.end_bytes().saturating_sub(offset);
        let mut moved = buffer.len_bytes().min(usize::try_from(existing).unwrap_or(usize::MAX));
        if moved > SECTOR_BYTES && self.plan.short_reads.fires(&mut self.random) {
            self.counts.short_reads += 1;
            moved = SECTOR_BYTES * (1 + self.random.index(moved / SECTOR_BYTES - 1));
        }
        let words = buffer.words().get(..moved / 8).unwrap_or_default();
        self.newest.read_words(offset, words);
        self.flip_in_read(offset, buffer, moved);
        self.count(Traffic { bytes_read: moved as u64, ..Traffic::default() });
        Ok(moved)
    }

    fn flip_in_read(&mut self, offset: u64, buffer: &IoBuffer, moved: usize) {
        let mut places = Vec::new();
        if moved > 0 && self.plan.read_flips.fires(&mut self.random) {
            let bit = self.random.index(moved * 8);
            places.push((bit / 8, bit % 8));
        }
        self.pending_flips.retain(|(flip, bit)| {
            let place = flip.checked_sub(offset).and_then(|place| usize::try_from(place).ok());
            match place.filter(|place| *place < moved) {
                Some(place) => {
                    places.push((place, usize::from(bit % 8)));
                    false
                }
                None => true,
            }
        });
        for (byte, bit) in places {
            if let Some(word) = buffer.words().get(byte / 8) {
                // Relaxed: the buffer belongs to this request.
                word.fetch_xor(1 << (byte % 8 * 8 + bit), Ordering::Relaxed);
                self.counts.read_bits_flipped += 1;
            }
        }
    }

    /// Executes a block write; the result is the number of bytes that moved.
    pub(super) fn write(
        &mut self,
        offset: u64,
        patches: impl FnOnce() -> Vec<Patch>,
    ) -> Result<usize, DeviceError> {
        self.check_open()?;
        self.check_not_poisoned()?;
        self.count(Traffic { writes: 1, changes: 1, ..Traffic::default() });
        let result = self.write_counted(offset, patches());
        if let Ok(moved) = &result {
            self.count(Traffic { bytes_written: *moved as u64, ..Traffic::default() });
        }
        self.look_for_crash_point();
        result
    }

    fn write_counted(&mut self, offset: u64, mut patches: Vec<Patch>) -> Result<usize, DeviceError> {
        let error =
            self.plan.write_errors.fires(&mut self.random).then(|| injected("write").at_offset(offset));
        let sectors = patches.len() * SECTORS_PER_BLOCK;
        if error.is_some() {
            self.counts.write_errors += 1;
            tear(&mut patches, &mut self.random);
        } else if self.plan.short_writes.fires(&mut self.random) {
            self.counts.short_writes += 1;
            let kept = 1 + self.random.index(sectors - 1);
            keep_front(&mut patches, kept);
        }
        let fitting = self.fitting(&patches);
        let full = (fitting < patches.len() && error.is_none()).then(|| {
            self.counts.full_errors += 1;
            let capacity = self.geometry.capacity_bytes;
            let budget = self.plan.space_budget_bytes.unwrap_or(capacity);
            let message = format!("no space is left: capacity {capacity} bytes, budget {budget} bytes");
            DeviceError::new(DeviceErrorKind::Full, message).at_offset(offset)
        });
        patches.truncate(fitting);
        let moved = patches.iter().map(Patch::len_bytes).sum();
        if !patches.is_empty() {
            self.record(Effect::Write(patches));
        }
        error.or(full).map_or(Ok(moved), Err)
    }

    /// How many of the patches, from the front, lie inside of the capacity and have a block already or find space for one.
    fn fitting(&self, patches: &[Patch]) -> usize {
        let budget = self.plan.space_budget_bytes.unwrap_or(u64::MAX);
        let capacity_blocks = self.geometry.capacity_bytes / BLOCK_BYTES as u64;
        let mut allocated = self.newest.allocated_bytes();
        let fits = |patch: &&Patch| {
            let is_new = budget < u64::MAX && !self.newest.holds(patch.block);
            allocated += u64::from(is_new) * BLOCK_BYTES as u64;
            patch.block < capacity_blocks && (!is_new || allocated <= budget)
        };
        patches.iter().take_while(fits).count()
    }

    /// Executes a sync that was submitted at `position`.
    pub(super) fn sync(&mut self, position: u64) -> Result<usize, DeviceError> {
        self.check_open()?;
        self.check_not_poisoned()?;
        self.count(Traffic { syncs: 1, changes: 1, ..Traffic::default() });
        let covered = self.unsynced.partition_point(|change| change.sequence < position);
        let failed = self.plan.sync_errors.fires(&mut self.random);
        let result = if failed {
            self.unsynced.drain(..covered);
            self.counts.sync_errors += 1;
            self.counts.lost_by_failed_sync += covered as u64;
            self.poisoned = self.plan.poison;
            Err(injected("sync").of_sync())
        } else {
            self.unsynced.drain(..covered).for_each(|change| change.effect.apply(&mut self.durable));
            Ok(0)
        };
        self.look_for_crash_point();
        result
    }

    /// Executes a truncation. It becomes durable as a write does: by a sync that is submitted later (rule 2 of the contract).
    pub(super) fn truncate(&mut self, effect: Effect) -> Result<(), DeviceError> {
        self.check_open()?;
        self.count(Traffic { truncations: 1, changes: 1, ..Traffic::default() });
        self.record(effect);
        self.look_for_crash_point();
        Ok(())
    }

    /// Reads a metadata slot.
    pub(super) fn read_metadata(&mut self, slot: MetadataSlot, buffer: &mut [u8]) -> Result<(), DeviceError> {
        self.check_open()?;
        self.count(Traffic { metadata_reads: 1, ..Traffic::default() });
        if self.plan.metadata_read_errors.fires(&mut self.random) {
            self.counts.metadata_read_errors += 1;
            return Err(injected("metadata read"));
        }
        let content = self.newest.slot(slot);
        let zeros = std::iter::repeat(&0);
        buffer.iter_mut().zip(content.iter().chain(zeros)).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    /// Writes the front of a metadata slot and makes it durable.
    pub(super) fn write_metadata(&mut self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        self.check_open()?;
        self.check_not_poisoned()?;
        self.count(Traffic { metadata_writes: 1, changes: 1, ..Traffic::default() });
        let result = self.write_metadata_counted(slot, bytes);
        self.look_for_crash_point();
        result
    }

    fn write_metadata_counted(&mut self, slot: MetadataSlot, bytes: &[u8]) -> Result<(), DeviceError> {
        if self.plan.power_is_lost_in_metadata_write() {
            self.tear_metadata(slot, bytes);
            self.lose_power();
            return self.check_open();
        }
        if self.plan.metadata_write_errors.fires(&mut self.random) {
            self.counts.metadata_write_errors += 1;
            self.tear_metadata(slot, bytes);
            return Err(injected("metadata write"));
        }
        self.newest.write_slot(slot, bytes, None);
        if self.plan.metadata_sync_errors.fires(&mut self.random) {
            self.counts.metadata_sync_errors += 1;
            self.poisoned = self.plan.poison;
            return Err(injected("metadata sync").of_sync());
        }
        self.durable.write_slot(slot, bytes, None);
        Ok(())
    }

    fn tear_metadata(&mut self, slot: MetadataSlot, bytes: &[u8]) {
        self.counts.metadata_torn += 1;
        let new = self.random.tear(bytes.len().div_ceil(SECTOR_BYTES));
        self.newest.write_slot(slot, bytes, Some(&new));
        self.durable.write_slot(slot, bytes, Some(&new));
    }

    /// What the newest image occupies.
    pub(super) fn space_use(&mut self) -> Result<SpaceUse, DeviceError> {
        self.check_open()?;
        let allocated_bytes = self.newest.allocated_bytes();
        Ok(SpaceUse { end_offset: self.newest.end_bytes(), allocated_bytes })
    }

    /// Changes that no sync covers yet, delayed writes included.
    pub(super) fn unsynced_changes(&self) -> usize {
        self.unsynced.len() + self.in_flight.len()
    }

    /// The image that reads see.
    pub(super) fn newest(&self) -> &Image {
        &self.newest
    }

    /// Overwrites bytes in both images.
    pub(super) fn overwrite(&mut self, offset: u64, bytes: &[u8]) {
        self.newest.overwrite(offset, bytes);
        self.durable.overwrite(offset, bytes);
    }

    /// Flips a bit in both images.
    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) -> bool {
        let newest = self.newest.flip_bit(offset, bit);
        let durable = self.durable.flip_bit(offset, bit);
        self.counts.image_bits_flipped += u64::from(newest || durable);
        newest || durable
    }

    /// Flips a bit in the next read that covers it.
    pub(super) fn flip_in_next_read(&mut self, offset: u64, bit: u8) {
        self.pending_flips.push((offset, bit));
    }

    /// Changes the bytes of a slot in both images.
    pub(super) fn change_slot(&mut self, slot: MetadataSlot, change: impl Fn(&mut [u8])) {
        for image in [&mut self.newest, &mut self.durable] {
            let content = image.slot_mut(slot);
            content.resize(METADATA_SLOT_BYTES, 0);
            change(content);
        }
    }
}

fn injected(what: &str) -> DeviceError {
    DeviceError::io(format!("injected fault: {what} failed"), std::io::Error::other("input/output error"))
}
