//! Driving cold searches on the calling thread: one, or a whole batch in flight together.

use std::collections::VecDeque;
use std::sync::Arc;

use oxifaster_core::error::Error;
use oxifaster_core::hlog::{HybridLog, Patience};
use oxifaster_device::local::{with_local_queue, with_local_queue_of};
use oxifaster_device::{Completion, IoQueue, QueueOptions, Wait};

use super::Nesting;
use super::cold_search::{ColdFound, ColdSearch, SearchStep};

/// Runs a search to its end. The caller holds no guard.
///
/// # Errors
/// The device's error, `Corruption` with the address.
pub(crate) fn run(log: &Arc<HybridLog>, search: &mut ColdSearch) -> Result<ColdFound, Error> {
    if let Some(found) = search.go_on_in_memory(log)? {
        return Ok(found);
    }
    let patience = Nesting::patience();
    with_local_queue(log.device().as_ref(), |queue| {
        loop {
            if let SearchStep::Found(found) = search.advance(log, patience)? {
                return Ok(found);
            }
            if let Some(read) = search.read_mut() {
                read.perform(log, queue)?;
            }
        }
    })?
}

/// A search and the caller's number for it.
pub(crate) type Numbered = (usize, ColdSearch);

/// Where many searches come from, and where their results go.
pub(crate) trait Searches {
    /// The next one to be started, if any is left. It is asked for when there is room for it, so that no search lies about.
    fn next(&mut self) -> Option<Numbered>;

    /// Takes the result of the caller's `number`. The search that it may give back takes the place of the one that ended.
    fn finished(
        &mut self,
        number: usize,
        search: &ColdSearch,
        result: Result<ColdFound, Error>,
    ) -> Option<Numbered>;
}

/// Runs many searches to their ends, up to `depth` in flight together; each result is handed over as it comes, in any
/// order, while others are under way: so values that were read do not pile up. The caller holds no guard.
///
/// # Errors
/// Only when the queue itself is broken; the error of a single search is its result.
pub(crate) fn run_all(log: &Arc<HybridLog>, searches: impl Searches, depth: usize) -> Result<(), Error> {
    let options = QueueOptions { depth };
    let patience = Nesting::patience();
    with_local_queue_of(log.device().as_ref(), options, |queue| {
        let _nesting = Nesting::begin();
        let (running, vacant, later) = (Vec::new(), Vec::new(), VecDeque::new());
        Batch { log, queue, depth, patience, running, vacant, later, searches }.run()
    })?
}

struct Batch<'a, S> {
    log: &'a HybridLog,
    queue: &'a mut dyn IoQueue,
    depth: usize,
    /// How it waits for memory when it has nothing in flight.
    patience: Patience,
    /// Searches with I/O in flight; the place of one is its tag.
    running: Vec<Option<Numbered>>,
    /// Places in `running` that are free.
    vacant: Vec<usize>,
    /// Searches that there was no memory for; new ones wait behind them.
    later: VecDeque<Numbered>,
    searches: S,
}

impl<S: Searches> Batch<'_, S> {
    fn run(mut self) -> Result<(), Error> {
        let mut completions: Vec<Completion> = Vec::new();
        loop {
            self.retry()?;
            while self.later.is_empty()
                && self.in_flight() < self.depth
                && let Some(search) = self.searches.next()
            {
                self.advance(search, Patience::Now)?;
            }
            if self.in_flight() == 0 {
                let Some(search) = self.later.pop_front() else { return Ok(()) };
                self.advance(search, self.patience)?;
                continue;
            }
            self.queue.reap(Wait::ForOne, &mut completions)?;
            for completion in completions.drain(..) {
                self.complete(completion)?;
            }
        }
    }

    /// Asks again for those that there was no memory for, as far as there is some now.
    fn retry(&mut self) -> Result<(), Error> {
        while let Some(search) = self.later.pop_front() {
            let left = self.later.len();
            self.advance(search, Patience::Now)?;
            if self.later.len() > left {
                // There is still none; it stays the first.
                self.later.rotate_right(1);
                return Ok(());
            }
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.running.len() - self.vacant.len()
    }

    fn complete(&mut self, completion: Completion) -> Result<(), Error> {
        let place = usize::try_from(completion.tag / 2).unwrap_or(usize::MAX);
        let Some(entry) = self.running.get_mut(place) else { return Ok(()) };
        let Some(read) = entry.as_mut().and_then(|(_, search)| search.read_mut()) else { return Ok(()) };
        if let Some(again) = read.complete(completion) {
            self.queue.submit(again)?;
        } else if read.is_done()
            && let Some(search) = entry.take()
        {
            self.vacant.push(place);
            self.advance(search, Patience::Now)?;
        }
        Ok(())
    }

    /// Goes on with a search, and with what `finished` makes of it, until one has I/O in flight, or waits for memory, or none
    /// is left.
    fn advance(&mut self, search: Numbered, patience: Patience) -> Result<(), Error> {
        let mut next = Some(search);
        while let Some((number, mut search)) = next {
            let result = match search.advance(self.log, patience) {
                Ok(SearchStep::Read) => return self.start(number, search),
                Ok(SearchStep::Later) => {
                    self.later.push_back((number, search));
                    return Ok(());
                }
                Ok(SearchStep::Found(found)) => Ok(found),
                Err(error) => Err(error),
            };
            next = self.searches.finished(number, &search, result);
        }
        Ok(())
    }

    /// Submits the read that a search has prepared.
    fn start(&mut self, number: usize, mut search: ColdSearch) -> Result<(), Error> {
        let place = self.vacant.pop().unwrap_or(self.running.len());
        let tag = place as u64 * 2;
        let requests = search.read_mut().map(|read| read.requests(tag, self.log)).unwrap_or_default();
        match self.running.get_mut(place) {
            Some(entry) => *entry = Some((number, search)),
            None => self.running.push(Some((number, search))),
        }
        for request in requests {
            self.queue.submit(request)?;
        }
        Ok(())
    }
}
