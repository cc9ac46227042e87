//! Appending: reservation, copy, publication.

use std::sync::Arc;

use oxifaster_core::sync::canary;
use oxifaster_core::{Address, Error, ErrorKind};

use crate::entry::{EntryKind, entry_words};
use crate::faster_log::FasterLog;
use crate::futures::{AppendAndCommitFuture, AppendBatchFuture, AppendFuture};
use crate::ring::{Refusal, Reserved};
use crate::shared::Shared;
use crate::writer::{addresses_used_up, memory_full};

impl FasterLog {
    /// Appends an entry, of 0 bytes or more, and returns its address. Waits while the memory is full of entries that are not
    /// written yet. Not durable before a commit.
    ///
    /// # Errors
    /// `InvalidInput` for an entry longer than [`entry_bytes_max`](crate::FasterLogConfig::entry_bytes_max); the device's error when
    /// there is no room and writing fails; `OutOfMemory` when a log without a device is full; `Poisoned`; `Closed`. Nothing was appended then.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let address = log.append(b"an event")?; // in memory
    /// assert!(address >= log.committed_address());
    /// log.commit()?; // durable
    /// assert!(address < log.committed_address());
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    #[inline]
    pub fn append(&self, entry: &[u8]) -> Result<Address, Error> {
        self.shared.append(entry)
    }

    /// [`append`](Self::append) that never waits: `None` when there is no room now.
    ///
    /// # Errors
    /// As `append`: the device's error when there is no room and the last attempt to write has failed. Each call asks for another attempt.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_core::ErrorKind;
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let config = FasterLogConfig::default().with_page_size(8192).with_memory_pages(4);
    /// let log = FasterLog::open(config, NullDisk::new())?;
    /// let mut appended = 0;
    /// while let Ok(Some(_)) = log.try_append(&[7; 1000]) {
    ///     appended += 1;
    /// }
    /// // A log on a device would have room again soon and say `None`; one without a device has no other place.
    /// assert_eq!(log.try_append(&[7; 1000]).unwrap_err().kind(), ErrorKind::OutOfMemory);
    /// assert!(appended > 25);
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn try_append(&self, entry: &[u8]) -> Result<Option<Address>, Error> {
        let words = self.shared.words_of(entry.len())?;
        match self.shared.ring.reserve(words) {
            Ok(place) => Ok(Some(self.shared.write_entry(place, words, entry))),
            Err(Refusal::Full) => {
                self.shared.refused_for_ever(words)?;
                self.check_open()?;
                self.shared.progress.ask_for_room().map(|()| None)
            }
            Err(Refusal::Sealed) => self.check_open().map(|()| None),
        }
    }

    /// [`append`](Self::append) as a future, which owns the entry.
    ///
    /// # Cancel safety
    /// A future that is dropped before it is ready has appended nothing.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// # pollster::block_on(async {
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let address = log.append_async("an event").await?;
    /// assert_eq!(log.read_entry(address)?.as_deref(), Some(&b"an event"[..]));
    /// # Ok::<(), oxifaster_core::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn append_async(&self, entry: impl Into<Vec<u8>>) -> AppendFuture {
        AppendFuture::new(Arc::clone(&self.shared), entry.into())
    }

    /// Appends entries next to each other, and returns their addresses. After a crash all of them are there, or none.
    ///
    /// # Errors
    /// As [`append`](Self::append); the batch as a whole takes as much room as the longest entry may.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let addresses = log.append_batch(&["debit 5", "credit 5"])?;
    /// log.commit()?;
    /// assert_eq!(log.read_entry(addresses[1])?.as_deref(), Some(&b"credit 5"[..]));
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn append_batch<E: AsRef<[u8]>>(&self, entries: &[E]) -> Result<Vec<Address>, Error> {
        self.shared.append_batch(entries)
    }

    /// [`append_batch`](Self::append_batch) as a future, which owns the entries.
    ///
    /// # Cancel safety
    /// A future that is dropped before it is ready has appended nothing.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// # pollster::block_on(async {
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let addresses = log.append_batch_async(["debit 5", "credit 5"]).await?;
    /// log.commit_async().await?;
    /// assert_eq!(log.read_entry(addresses[0])?.as_deref(), Some(&b"debit 5"[..]));
    /// # Ok::<(), oxifaster_core::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn append_batch_async<E: Into<Vec<u8>>>(
        &self,
        entries: impl IntoIterator<Item = E>,
    ) -> AppendBatchFuture {
        AppendBatchFuture::new(Arc::clone(&self.shared), entries.into_iter().map(Into::into).collect())
    }

    /// [`append_and_commit`](Self::append_and_commit) as a future, which owns the entry.
    ///
    /// # Cancel safety
    /// A future that is dropped before it is ready has appended the entry or not; if it has, the commit happens all the same.
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// # pollster::block_on(async {
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let address = log.append_and_commit_async("an event").await?;
    /// assert!(address < log.committed_address());
    /// # Ok::<(), oxifaster_core::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn append_and_commit_async(&self, entry: impl Into<Vec<u8>>) -> AppendAndCommitFuture {
        AppendAndCommitFuture::new(self.append_async(entry))
    }
}

impl Shared {
    #[inline]
    pub(crate) fn append(&self, entry: &[u8]) -> Result<Address, Error> {
        let words = self.words_of(entry.len())?;
        let place = match self.ring.reserve(words) {
            Ok(place) => place,
            Err(_) => self.reserve_waiting(words)?,
        };
        Ok(self.write_entry(place, words, entry))
    }

    pub(crate) fn append_batch<E: AsRef<[u8]>>(&self, entries: &[E]) -> Result<Vec<Address>, Error> {
        // Asked once, and before anything is reserved: what a caller's `as_ref` does must not leave a hole in the log.
        let entries: Vec<&[u8]> = entries.iter().map(AsRef::as_ref).collect();
        let words = self.words_of_batch(&entries)?;
        if words == 0 {
            return self.progress.ended().map_or(Ok(Vec::new()), Err);
        }
        if canary::armed("log_batch_in_pieces") {
            return entries.iter().map(|entry| self.append(entry)).collect();
        }
        let place = match self.ring.reserve(words) {
            Ok(place) => place,
            Err(_) => self.reserve_waiting(words)?,
        };
        Ok(self.write_batch(place, &entries))
    }

    /// Words of all entries of a batch, 0 if there are none, if they are not too long together.
    pub(crate) fn words_of_batch(&self, entries: &[&[u8]]) -> Result<u64, Error> {
        let mut words = 0;
        for entry in entries {
            words += self.words_of(entry.len())?;
        }
        if words > entry_words(self.config.entry_bytes_max()) {
            let message = format!(
                "a batch of {} bytes with its headers: at most {} fit the configured memory",
                words * 8,
                self.config.entry_bytes_max()
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(words)
    }

    /// Fills reserved words with the entries of a batch.
    pub(crate) fn write_batch(&self, place: Reserved, entries: &[&[u8]]) -> Vec<Address> {
        let seed = self.seed();
        let mut headers = Vec::with_capacity(entries.len());
        let mut at = place.start;
        for entry in entries {
            let room = self.ring.room_for(at, entry.len());
            headers.push((at, seed.store(at, EntryKind::User, entry, room).encode()));
            at += entry_words(entry.len());
        }
        self.ring.publish_batch(&headers);
        self.published(place, at);
        headers.into_iter().map(|(at, _)| Address::from_low_bits(at)).collect()
    }

    /// Words of an entry, if it is not too long.
    #[inline]
    pub(crate) fn words_of(&self, bytes: usize) -> Result<u64, Error> {
        if bytes > self.entry_bytes_max {
            return Err(too_long(bytes, self.entry_bytes_max));
        }
        Ok(entry_words(bytes))
    }

    /// Fills reserved words.
    #[inline]
    pub(crate) fn write_entry(&self, place: Reserved, words: u64, entry: &[u8]) -> Address {
        let at = place.start;
        let room = self.ring.room_for(at, entry.len());
        let header = self.seed().store(at, EntryKind::User, entry, room);
        self.ring.publish(at, header.encode());
        self.published(place, at + words);
        Address::from_low_bits(at)
    }

    /// What comes behind a publication of words up to `end`.
    #[inline]
    fn published(&self, place: Reserved, end: u64) {
        if (place.start ^ end) >> self.nudge_shift != 0 {
            self.progress.nudge();
        }
        if place.listened {
            self.listeners.tell(&self.ring, &self.progress);
        }
    }

    /// The slow path: there is no room, or the log is closed, poisoned, or being cut.
    #[cold]
    fn reserve_waiting(&self, words: u64) -> Result<Reserved, Error> {
        loop {
            match self.ring.reserve(words) {
                Ok(place) => return Ok(place),
                Err(Refusal::Full) => self.refused_for_ever(words)?,
                Err(Refusal::Sealed) => {}
            }
            self.progress.wait_for_room(|| !self.ring.is_sealed() && self.ring.has_room(words))?;
        }
    }

    /// Whether waiting for room makes no sense.
    pub(crate) fn refused_for_ever(&self, words: u64) -> Result<(), Error> {
        if self.ring.tail() + words > self.address_end {
            return Err(addresses_used_up(self.address_end));
        }
        if !self.persistent && !self.ring.has_room(words) {
            return Err(memory_full());
        }
        Ok(())
    }
}

#[cold]
fn too_long(bytes: usize, most: usize) -> Error {
    let message = format!(
        "an entry of {bytes} bytes: at most {most} fit the configured memory (half of page_size x memory_pages)"
    );
    Error::new(ErrorKind::InvalidInput, message)
}
