//! Reading the log back from the device, every block verified.
//!
//! Callers: cold operations of the store (a [`BlockRead`] of the one or two blocks around a record), recovery and
//! `verify` (whole pages). A block read is sans-I/O: it says what to submit, takes completions, and verifies; so one
//! piece of code serves blocking, batched and asynchronous callers.
//!
//! A record's page may be evicted only when complete, so every block below `head` has its checksum in the page's
//! checksum blocks; those are cached under a budget, and read along with the data on a miss.

use std::ops::Range;
use std::sync::Arc;

use oxifaster_device::local::with_local_queue;
use oxifaster_device::sync::atomic::{AtomicU64, Ordering};
use oxifaster_device::sync::canary;
use oxifaster_device::{
    BLOCK_BYTES, BLOCK_WORDS, Completion, IoBuffer, IoOperation, IoQueue, IoRequest, Wait,
};

use super::buffer_pool::{BufferPool, Patience};
use super::checksum::{BlockIdentity, block_bytes, packed_get, packed_index, packed_set};
use super::checksum_cache::PageChecksums;
use super::hybrid_log::HybridLog;
use super::page_layout::CHECKSUMS_PER_BLOCK;
use crate::address::Address;
use crate::error::{Error, ErrorKind};

/// Rounds in which a short read is submitted again.
const SHORT_READS_MAX: u32 = 8;

/// The read of a run of blocks of one page, with the page's checksum blocks if those are not cached.
#[derive(Debug)]
pub struct BlockRead {
    page: u64,
    /// First word of the first block, from the start of the page.
    first_word: u64,
    /// What was taken: the blocks of the data, and behind them those of the header.
    taken: IoBuffer,
    data: IoBuffer,
    known: Option<PageChecksums>,
    header: Option<IoBuffer>,
    outstanding: u32,
    short_reads: u32,
    failed: Option<Error>,
    /// Where `taken` is from, unless it is beyond what the pool has.
    pool: Option<Arc<BufferPool>>,
}

impl Drop for BlockRead {
    fn drop(&mut self) {
        match &self.pool {
            Some(pool) if self.outstanding == 0 => pool.give_back(&self.taken),
            // A request in flight may still write into the buffers.
            Some(pool) => pool.abandon(&self.taken),
            None => {}
        }
    }
}

/// Which part of a [`BlockRead`] a request fills; kept in the lowest bit of its tag.
const DATA: u64 = 0;
const HEADER: u64 = 1;

/// Pages behind the last flush that an open looks at: enough to say that there are many.
const PAGES_BEHIND_MAX: u64 = 64;

impl HybridLog {
    /// Prepares the read of `words` words at `address`, which must lie in one page below `head`. `None` only without patience:
    /// there is no memory for it now.
    ///
    /// # Errors
    /// `Corruption` when the run leaves its page (only a damaged record can ask for that); errors of memory.
    pub fn block_read(
        &self,
        address: Address,
        words: u64,
        patience: Patience,
    ) -> Result<Option<BlockRead>, Error> {
        let layout = self.layout();
        let offset = layout.offset_of(address);
        if offset < layout.first_word() || words == 0 || offset + words > layout.page_words() {
            return Err(Error::new(
                ErrorKind::Corruption,
                format!("{words} words do not fit into the page there"),
            )
            .with_address(address));
        }
        let first_word = offset - offset % BLOCK_WORDS as u64;
        let blocks = (offset + words).div_ceil(BLOCK_WORDS as u64) - first_word / BLOCK_WORDS as u64;
        let page = layout.page_of(address);
        let known = self.checksums.get(page);
        let header_blocks = if known.is_some() { 0 } else { layout.checksum_blocks() };
        // Both at once: nobody waits for the one while holding the other.
        let all_blocks = usize::try_from(blocks + header_blocks).unwrap_or(usize::MAX);
        let Some(taken) = self.buffers.take(all_blocks, patience)? else { return Ok(None) };
        let Range { start, end } = taken.word_range();
        let middle = start + usize::try_from(blocks).unwrap_or(0) * BLOCK_WORDS;
        let part = |words| IoBuffer::new(Arc::clone(taken.memory()), words);
        Ok(Some(BlockRead {
            page,
            first_word,
            data: part(start..middle)?,
            known,
            header: (middle < end).then(|| part(middle..end)).transpose()?,
            taken,
            outstanding: 0,
            short_reads: 0,
            failed: None,
            pool: (patience != Patience::Beyond).then(|| Arc::clone(&self.buffers)),
        }))
    }

    /// The time lines of the log's blocks.
    pub(crate) fn current_identity(&self) -> Arc<BlockIdentity> {
        Arc::clone(&self.identity.lock())
    }

    /// Verifies a page's checksum blocks, as read, and returns the checksums of its data blocks.
    fn verify_header(&self, page: u64, header: &[AtomicU64]) -> Result<PageChecksums, Error> {
        let layout = self.layout();
        let start = layout.start_of(page);
        let identity = self.current_identity();
        let last_block = start.byte_offset() + layout.page_bytes() - BLOCK_BYTES as u64;
        for (number, block) in header.chunks_exact(BLOCK_WORDS).enumerate() {
            let offset = start.byte_offset() + (number * BLOCK_BYTES) as u64;
            let bytes = block_bytes(block);
            let covered = bytes.get(..CHECKSUMS_PER_BLOCK * 4).unwrap_or_default();
            if identity.checksum(offset, last_block, covered) != packed_get(block, CHECKSUMS_PER_BLOCK) {
                return Err(self.damage("a checksum block does not match its own checksum", offset));
            }
        }
        let data_blocks = usize::try_from(layout.blocks() - layout.checksum_blocks()).unwrap_or(0);
        Ok((0..data_blocks).map(|block| packed_get(header, packed_index(block))).collect())
    }

    /// Verifies a run of data blocks of a page against its checksums.
    fn verify_blocks(
        &self,
        page: u64,
        first_word: u64,
        blocks: &[AtomicU64],
        checksums: &[u32],
    ) -> Result<(), Error> {
        let layout = self.layout();
        let identity = self.current_identity();
        let start = layout.start_of(page).byte_offset() + first_word * 8;
        let first_block = layout.data_block_of(first_word);
        for (number, block) in blocks.chunks_exact(BLOCK_WORDS).enumerate() {
            let offset = start + (number * BLOCK_BYTES) as u64;
            let expected = checksums.get(first_block + number).copied();
            if expected != Some(identity.data_checksum(offset, block))
                && !canary::armed("skip_block_verification")
            {
                return Err(self.damage("a block does not match its checksum", offset));
            }
        }
        Ok(())
    }

    /// Counts the complete, verified pages at and behind the consistent tail: what was written after the last flush.
    /// Only a report: the first page that does not verify, or that the device can't read, ends it, and so do
    /// 64 of them. Nothing of the store is there, and nothing that it needs.
    #[must_use]
    pub fn count_pages_behind(&self) -> u64 {
        let layout = self.layout();
        let first = layout.page_of(self.durable.lock().metadata.consistent_tail);
        let counted = with_local_queue(self.device.as_ref(), |queue| {
            let mut page = first;
            while page - first < PAGES_BEHIND_MAX {
                match self.load_page(queue, page, layout.start_of(page + 1), false) {
                    Ok(_) => page += 1,
                    Err(error) if error.kind() == ErrorKind::Corruption => return page - first,
                    Err(error) => {
                        tracing::warn!(%error, "pages behind the last flush were not counted to their end");
                        return page - first;
                    }
                }
            }
            PAGES_BEHIND_MAX
        });
        counted.unwrap_or_else(|error| {
            tracing::warn!(%error, "pages behind the last flush were not counted");
            0
        })
    }

    fn damage(&self, what: &str, offset: u64) -> Error {
        Error::new(
            ErrorKind::Corruption,
            format!("{what}: {} at byte {offset} of the log is damaged", self.device.describe()),
        )
        .with_address(Address::from_byte_offset(offset))
    }

    /// Puts the device's name in front of damage that was found by who does not know it; devices name themselves.
    fn name_device(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Corruption => error.with_context(&self.device.describe()),
            _ => error,
        }
    }

    /// Reads a page up to `until` (its end, or the consistent tail) and verifies it. With `into_frame` the words land in
    /// the page's frame, else in memory of their own.
    ///
    /// # Errors
    /// `Corruption` with the place of the damage; errors of the device.
    pub fn load_page(
        &self,
        queue: &mut dyn IoQueue,
        page: u64,
        until: Address,
        into_frame: bool,
    ) -> Result<IoBuffer, Error> {
        let layout = self.layout();
        let start = layout.start_of(page);
        let buffer = if into_frame {
            IoBuffer::new(Arc::clone(self.ring.memory()), self.ring.frame_range(page))?
        } else {
            IoBuffer::zeroed(usize::try_from(layout.blocks()).unwrap_or(1))?
        };
        let until_word = until.words().saturating_sub(start.words()).min(layout.page_words());
        let whole = until_word == layout.page_words();
        let from_word = if whole { 0 } else { layout.first_word() };
        if until_word > from_word {
            let base = buffer.word_range().start;
            let range = base + usize::try_from(from_word).unwrap_or(0)
                ..base + usize::try_from(until_word).unwrap_or(0);
            let part = IoBuffer::new(Arc::clone(buffer.memory()), range)?;
            read_exactly(queue, start.plus(from_word).byte_offset(), part)
                .map_err(|error| self.name_device(error))?;
        }
        let words = buffer.words();
        let first = usize::try_from(layout.first_word()).unwrap_or(0);
        let checksums = if whole {
            let checksums = self.verify_header(page, words.get(..first).unwrap_or_default())?;
            self.checksums.insert(page, Arc::clone(&checksums));
            checksums
        } else {
            let known: PageChecksums = self.durable.lock().metadata.open_page.checksums.clone().into();
            if into_frame {
                known
                    .iter()
                    .enumerate()
                    .for_each(|(block, sum)| packed_set(words, packed_index(block), *sum));
            }
            known
        };
        let data = words.get(first..usize::try_from(until_word).unwrap_or(0)).unwrap_or_default();
        self.verify_blocks(page, layout.first_word(), data, &checksums)?;
        Ok(buffer)
    }
}

impl BlockRead {
    /// The requests to submit, tagged `tag` and `tag + 1`; `tag` must be even.
    pub fn requests(&mut self, tag: u64, log: &HybridLog) -> Vec<IoRequest> {
        let start = log.layout().start_of(self.page).byte_offset();
        let data = IoOperation::Read(self.data.clone());
        let mut requests =
            vec![IoRequest { tag: tag | DATA, offset: start + self.first_word * 8, operation: data }];
        if let Some(header) = &self.header {
            let operation = IoOperation::Read(header.clone());
            requests.push(IoRequest { tag: tag | HEADER, offset: start, operation });
        }
        self.outstanding = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        requests
    }

    /// Takes a completion. `Some(request)` must be submitted again (the device moved only a part).
    pub fn complete(&mut self, completion: Completion) -> Option<IoRequest> {
        let Completion { tag, offset, result, operation } = completion;
        let wanted = match &operation {
            IoOperation::Read(buffer) | IoOperation::Write(buffer) => buffer.len_bytes(),
            IoOperation::Sync => 0,
        };
        match result {
            Ok(bytes) if bytes == wanted => {}
            Ok(_) if self.short_reads < SHORT_READS_MAX => {
                self.short_reads += 1;
                return Some(IoRequest { tag, offset, operation });
            }
            Ok(bytes) => {
                let message =
                    format!("the device gave {bytes} of {wanted} bytes at byte {offset} of the log");
                self.failed = Some(Error::new(ErrorKind::Corruption, message));
            }
            Err(error) => self.failed = Some(error.into()),
        }
        self.outstanding -= 1;
        None
    }

    /// Whether all requests have completed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.outstanding == 0
    }

    /// Bytes that this read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.data.len_bytes() + self.header.as_ref().map_or(0, IoBuffer::len_bytes)) as u64
    }

    /// Number of device reads that this took.
    #[must_use]
    pub fn device_reads(&self) -> u64 {
        1 + u64::from(self.header.is_some())
    }

    /// Verifies what was read and lends the words from `address` to the end of the run.
    ///
    /// # Errors
    /// The device's error, or `Corruption` with the place of the damage.
    pub fn verified<'a>(&'a mut self, log: &HybridLog, address: Address) -> Result<&'a [AtomicU64], Error> {
        if let Some(error) = &self.failed {
            return Err(log.name_device(error.duplicate()));
        }
        let checksums = match (&self.known, &self.header) {
            (Some(known), _) => Arc::clone(known),
            (None, Some(header)) => {
                let checksums = log.verify_header(self.page, header.words())?;
                log.checksums.insert(self.page, Arc::clone(&checksums));
                self.known = Some(Arc::clone(&checksums));
                checksums
            }
            (None, None) => return Err(super::flush::unexpected("a block read without checksums")),
        };
        log.verify_blocks(self.page, self.first_word, self.data.words(), &checksums)?;
        let from = log.layout().offset_of(address).saturating_sub(self.first_word);
        Ok(self.data.words().get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default())
    }

    /// Performs the read on a queue of the calling thread that has nothing else in flight.
    ///
    /// # Errors
    /// When the queue is broken; errors of the read itself come from [`verified`](Self::verified).
    pub fn perform(&mut self, log: &HybridLog, queue: &mut dyn IoQueue) -> Result<(), Error> {
        for request in self.requests(0, log) {
            queue.submit(request)?;
        }
        let mut completions = Vec::new();
        while !self.is_done() {
            queue.reap(Wait::ForOne, &mut completions)?;
            for completion in completions.drain(..) {
                if let Some(again) = self.complete(completion) {
                    queue.submit(again)?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a whole buffer on a queue of the calling thread that has nothing else in flight.
fn read_exactly(queue: &mut dyn IoQueue, offset: u64, buffer: IoBuffer) -> Result<(), Error> {
    let wanted = buffer.len_bytes();
    let mut completions = Vec::new();
    for _ in 0..=SHORT_READS_MAX {
        queue.submit(IoRequest { tag: 0, offset, operation: IoOperation::Read(buffer.clone()) })?;
        while completions.is_empty() {
            queue.reap(Wait::ForOne, &mut completions)?;
        }
        for completion in completions.drain(..) {
            if completion.result? == wanted {
                return Ok(());
            }
        }
    }
    Err(Error::new(
        ErrorKind::Corruption,
        format!("the device gave fewer than {wanted} bytes at byte {offset} of the log: it was cut short"),
    ))
}

/// Copies words out of atomic memory.
pub fn copy_words(from: &[AtomicU64], to: &mut Vec<u64>) {
    to.clear();
    to.extend(from.iter().map(|word| word.load(Ordering::Relaxed)));
}
