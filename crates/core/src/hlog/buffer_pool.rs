//! The memory that reads of single records use, all of them together: bounded, whatever the number of threads.
//!
//! Called by block reads, from any thread; only reads from the device come here, so a lock is fine. All buffers are runs of
//! blocks of one mapping, so the memory is never more than was planned (DESIGN D5), and none before the first read. Whoever
//! finds no run that is long enough has two ways to go on:
//!
//! | [`Patience`] | who | what happens |
//! |---|---|---|
//! | `Now` | has reads in flight | it is told, reaps one of its reads, and asks again |
//! | `InLine` | has nothing in flight | it waits for its turn; turns come in the order of asking |
//! | `Beyond` | is called back by who has reads in flight, on its thread | it gets memory of its own |
//!
//! # Rules
//! 1. *Who waits holds nothing*: so whoever holds buffers has them in flight, or is about to look at them, and gives them back.
//! 2. *Nobody overtakes the line*: so all buffers come back at last, and the first of the line finds its run, however long.
//! 3. A run longer than the mapping (a record of a large page, with little memory for reads) gets memory of its own, one at a
//!    time.
//! 4. A run that a request may still write into is never used again: its mapping is given up, with all its runs.

use oxifaster_device::sync::{Condvar, Mutex, MutexGuard};
use oxifaster_device::{BLOCK_BYTES, BLOCK_WORDS, DeviceError, IoBuffer, Words};
use std::ops::Range;
use std::sync::Arc;

use crate::mutation::{Mutation, planted};

/// How a read takes it that there is no memory for it; see the module header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Nothing is taken then.
    Now,
    /// Waits. The caller has no read in flight.
    InLine,
    /// Takes memory that is not planned: for who can neither wait nor do without.
    Beyond,
}

/// The pool; see the module header.
#[derive(Debug)]
pub(crate) struct BufferPool {
    blocks: usize,
    space: Mutex<Space>,
    /// Runs came back, or the first of the line has left it.
    turned: Condvar,
}

/// Which blocks are taken, and who waits.
#[derive(Debug)]
struct Space {
    /// The mapping, as soon as it is needed.
    memory: Option<Arc<Words>>,
    /// One bit for each block: whether it is free.
    free: Vec<u64>,
    /// A run of memory of its own is out (rule 3).
    longer_is_out: bool,
    /// Tickets of the line: the next one to be given, and the one whose turn it is. Equal: nobody waits.
    next_ticket: u64,
    turn: u64,
}

/// What was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Blocks of the mapping.
    Run(Range<usize>),
    /// Memory of its own.
    Longer,
}

impl Space {
    fn new(blocks: usize) -> Self {
        let mut free = vec![u64::MAX; blocks.div_ceil(64)];
        if let Some(last) = free.last_mut().filter(|_| !blocks.is_multiple_of(64)) {
            *last = (1 << (blocks % 64)) - 1;
        }
        Self { memory: None, free, longer_is_out: false, next_ticket: 0, turn: 0 }
    }

    fn is_awaited(&self) -> bool {
        self.next_ticket != self.turn
    }

    /// The first block from `from` on that is free, or taken.
    fn first(&self, from: usize, is_free: bool) -> Option<usize> {
        let mut mask = u64::MAX << (from % 64);
        for (number, word) in self.free.iter().enumerate().skip(from / 64) {
            let wanted = (if is_free { *word } else { !*word }) & mask;
            if wanted != 0 {
                return Some(number * 64 + wanted.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    /// The first run of `blocks` free blocks.
    fn run(&self, blocks: usize) -> Option<Range<usize>> {
        let mut from = 0;
        loop {
            let start = self.first(from, true)?;
            let end = self.first(start, false).unwrap_or(self.free.len() * 64);
            if end - start >= blocks {
                return Some(start..start + blocks);
            }
            from = end;
        }
    }

    fn set(&mut self, run: Range<usize>, is_free: bool) {
        for block in run {
            if let Some(word) = self.free.get_mut(block / 64) {
                let bit = 1 << (block % 64);
                if is_free { *word |= bit } else { *word &= !bit }
            }
        }
    }
}

impl BufferPool {
    /// A pool of `bytes` bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let blocks = usize::try_from(bytes / BLOCK_BYTES as u64).unwrap_or(usize::MAX).max(1);
        Self { blocks, space: Mutex::new(Space::new(blocks)), turned: Condvar::new() }
    }

    /// A buffer of `blocks` blocks, with any content; `None` only without patience.
    pub(crate) fn take(&self, blocks: usize, patience: Patience) -> Result<Option<IoBuffer>, DeviceError> {
        if patience == Patience::Beyond {
            return IoBuffer::zeroed(blocks).map(Some);
        }
        let Some((mut space, place)) = self.place(blocks, patience == Patience::InLine) else {
            return Ok(None);
        };
        let taken = match &place {
            Place::Run(run) => {
                let words = run.start * BLOCK_WORDS..run.end * BLOCK_WORDS;
                self.memory(&mut space).and_then(|memory| IoBuffer::new(memory, words))
            }
            Place::Longer => IoBuffer::zeroed(blocks),
        };
        if taken.is_err() {
            self.free(space, place);
        }
        taken.map(Some)
    }

    /// Takes a buffer back that nobody reads or writes any more.
    pub(crate) fn give_back(&self, buffer: &IoBuffer) {
        let space = self.space.lock();
        let words = buffer.word_range();
        let run = words.start / BLOCK_WORDS..words.end / BLOCK_WORDS;
        if run.len() > self.blocks {
            self.free(space, Place::Longer);
        } else if space.memory.as_ref().is_some_and(|memory| Arc::ptr_eq(memory, buffer.memory())) {
            self.free(space, Place::Run(run));
        }
    }

    /// Takes back what a request may still write into (rule 4).
    pub(crate) fn abandon(&self, buffer: &IoBuffer) {
        let mut space = self.space.lock();
        if space.memory.as_ref().is_some_and(|memory| Arc::ptr_eq(memory, buffer.memory())) {
            space.memory = None;
            self.free(space, Place::Run(0..self.blocks));
        } else {
            drop(space);
            self.give_back(buffer);
        }
    }

    fn memory(&self, space: &mut Space) -> Result<Arc<Words>, DeviceError> {
        let memory = match space.memory.take() {
            Some(memory) => memory,
            None => Arc::new(Words::zeroed(self.blocks * BLOCK_WORDS)?),
        };
        Ok(Arc::clone(space.memory.insert(memory)))
    }

    /// Takes a place, and returns it with the lock.
    fn place(&self, blocks: usize, in_line: bool) -> Option<(MutexGuard<'_, Space>, Place)> {
        let mut space = self.space.lock();
        if !in_line {
            let place = if space.is_awaited() { None } else { self.try_place(&mut space, blocks) };
            return place.map(|place| (space, place));
        }
        let ticket = space.next_ticket;
        space.next_ticket += 1;
        loop {
            if space.turn == ticket
                && let Some(place) = self.try_place(&mut space, blocks)
            {
                space.turn += 1;
                self.wake(&space);
                return Some((space, place));
            }
            space = self.turned.wait(space);
        }
    }

    fn try_place(&self, space: &mut Space, blocks: usize) -> Option<Place> {
        if blocks > self.blocks {
            return (!std::mem::replace(&mut space.longer_is_out, true)).then_some(Place::Longer);
        }
        let run = space.run(blocks)?;
        space.set(run.clone(), false);
        Some(Place::Run(run))
    }

    fn free(&self, mut space: MutexGuard<'_, Space>, place: Place) {
        match place {
            Place::Run(run) => space.set(run, true),
            Place::Longer => space.longer_is_out = false,
        }
        if !planted(Mutation::BuffersReturnUnnoticed) {
            self.wake(&space);
        }
    }

    fn wake(&self, space: &Space) {
        // Each of the line looks whether it is its turn.
        if space.is_awaited() {
            self.turned.notify_all();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn pool(blocks: usize) -> BufferPool {
        BufferPool::new((blocks * BLOCK_BYTES) as u64)
    }

    fn now(pool: &BufferPool, blocks: usize) -> Option<IoBuffer> {
        pool.take(blocks, Patience::Now).expect("memory for a few blocks")
    }

    #[test]
    fn buffers_never_overlap_and_never_exceed_the_pool() {
        let pool = pool(200);
        let taken: Vec<IoBuffer> = (0_usize..).map_while(|number| now(&pool, 1 + number % 3)).collect();
        let mut ranges: Vec<Range<usize>> = taken.iter().map(IoBuffer::word_range).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "{ranges:?}");
        assert!(taken.iter().all(|buffer| Arc::ptr_eq(buffer.memory(), taken[0].memory())));
        assert!((198..=200).contains(&(ranges.iter().map(Range::len).sum::<usize>() / BLOCK_WORDS)));
        taken.iter().for_each(|buffer| pool.give_back(buffer));
        assert_eq!(now(&pool, 200).unwrap().len_bytes(), 200 * BLOCK_BYTES);
    }

    #[test]
    fn runs_are_found_across_the_words_of_the_map() {
        let pool = pool(130);
        let first = now(&pool, 60).unwrap();
        let second = now(&pool, 66).unwrap();
        assert_eq!(second.word_range(), 60 * BLOCK_WORDS..126 * BLOCK_WORDS);
        assert_eq!(now(&pool, 5).map(|buffer| buffer.word_range()), None);
        pool.give_back(&first);
        assert!(now(&pool, 61).is_none() && now(&pool, 60).is_some());
    }

    #[test]
    fn a_longer_run_has_memory_of_its_own_one_at_a_time() {
        let pool = pool(4);
        let longer = now(&pool, 9).unwrap();
        assert!(now(&pool, 5).is_none());
        assert_eq!(now(&pool, 4).unwrap().len_bytes(), 4 * BLOCK_BYTES);
        pool.give_back(&longer);
        assert!(now(&pool, 5).is_some());
    }

    #[test]
    fn what_is_abandoned_is_not_used_again() {
        let pool = pool(4);
        let (abandoned, other) = (now(&pool, 3).unwrap(), now(&pool, 1).unwrap());
        pool.abandon(&abandoned);
        let fresh = now(&pool, 4).unwrap();
        assert!(!Arc::ptr_eq(fresh.memory(), abandoned.memory()));
        pool.give_back(&other);
        assert!(now(&pool, 1).is_none(), "it was of the old mapping");
        pool.give_back(&fresh);
        assert!(now(&pool, 4).is_some());
        let beyond = pool.take(3, Patience::Beyond).unwrap().unwrap();
        pool.give_back(&beyond);
        assert!(now(&pool, 1).is_none());
    }

    #[test]
    fn nobody_overtakes_the_line() {
        let pool = pool(2);
        let one = now(&pool, 1).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take(2, Patience::InLine).unwrap().unwrap().len_bytes());
            while !pool.space.lock().is_awaited() {
                std::thread::yield_now();
            }
            assert!(now(&pool, 1).is_none(), "there is room, and somebody was first");
            pool.give_back(&one);
            assert_eq!(waiting.join().unwrap(), 2 * BLOCK_BYTES);
        });
        assert!(!pool.space.lock().is_awaited());
    }
}

/// Threads that take and give back, in every interleaving: nobody is forgotten in the line.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::mutation::model_with;
    use loom::thread;
    use oxifaster_device::sync::atomic::{AtomicU64, Ordering};

    fn hold(pool: &BufferPool, held: &AtomicU64, blocks: usize) {
        let Some((space, place)) = pool.place(blocks, true) else { panic!("in line") };
        drop(space);
        assert!(held.fetch_add(blocks as u64, Ordering::Relaxed) + blocks as u64 <= 2, "more than there are");
        held.fetch_sub(blocks as u64, Ordering::Relaxed);
        pool.free(pool.space.lock(), place);
    }

    fn line() {
        let pool = Arc::new(BufferPool::new(2 * BLOCK_BYTES as u64));
        let held = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = [2, 1]
            .map(|blocks| {
                let (pool, held) = (Arc::clone(&pool), Arc::clone(&held));
                thread::spawn(move || hold(&pool, &held, blocks))
            })
            .into();
        hold(&pool, &held, 1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!pool.space.lock().is_awaited());
    }

    #[test]
    fn everybody_in_line_gets_a_turn() {
        model_with(&[Mutation::BuffersReturnUnnoticed], 3, line);
    }
}
