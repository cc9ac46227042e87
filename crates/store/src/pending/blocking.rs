//! Driving cold searches on the calling thread: one, or a whole batch in flight together.

use std::sync::Arc;

use oxifaster_core::error::Error;
use oxifaster_core::hlog::HybridLog;
use oxifaster_device::local::{with_local_queue, with_local_queue_of};
use oxifaster_device::{Completion, IoQueue, QueueOptions, Wait};

use super::cold_search::{ColdFound, ColdSearch, SearchStep};

/// Runs a search to its end. The caller holds no guard.
///
/// # Errors
/// The device's error, `Corruption` with the address.
pub(crate) fn run(log: &Arc<HybridLog>, search: &mut ColdSearch) -> Result<ColdFound, Error> {
    with_local_queue(log.device().as_ref(), |queue| {
        loop {
            match search.advance(log)? {
                SearchStep::Found(found) => return Ok(found),
                SearchStep::Read => {
                    if let Some(read) = search.read_mut() {
                        read.perform(log, queue)?;
                    }
                }
            }
        }
    })?
}

/// Runs many searches to their ends, up to `depth` in flight together; results come in the searches' order.
///
/// # Errors
/// Only when the queue itself is broken; the error of a single search is its result.
pub(crate) fn run_all(
    log: &Arc<HybridLog>,
    searches: &mut [ColdSearch],
    depth: usize,
) -> Result<Vec<Result<ColdFound, Error>>, Error> {
    let options = QueueOptions { depth };
    with_local_queue_of(log.device().as_ref(), options, |queue| Batch::new(log, searches).run(queue, depth))?
}

struct Batch<'a> {
    log: &'a HybridLog,
    searches: &'a mut [ColdSearch],
    results: Vec<Option<Result<ColdFound, Error>>>,
}

impl<'a> Batch<'a> {
    fn new(log: &'a HybridLog, searches: &'a mut [ColdSearch]) -> Self {
        let results = searches.iter().map(|_| None).collect();
        Self { log, searches, results }
    }

    fn run(mut self, queue: &mut dyn IoQueue, depth: usize) -> Result<Vec<Result<ColdFound, Error>>, Error> {
        let mut next = 0;
        let mut running = 0_usize;
        let mut completions: Vec<Completion> = Vec::new();
        loop {
            while running < depth && next < self.searches.len() {
                running += usize::from(self.step(next, queue)?);
                next += 1;
            }
            if running == 0 && next == self.searches.len() {
                break;
            }
            queue.reap(Wait::ForOne, &mut completions)?;
            for completion in completions.drain(..) {
                let number = usize::try_from(completion.tag / 2).unwrap_or(usize::MAX);
                let Some(read) = self.searches.get_mut(number).and_then(ColdSearch::read_mut) else {
                    continue;
                };
                if let Some(again) = read.complete(completion) {
                    queue.submit(again)?;
                } else if read.is_done() && !self.step(number, queue)? {
                    running -= 1;
                }
            }
        }
        Ok(self.results.into_iter().flatten().collect())
    }

    /// Advances a search; whether it has I/O in flight then.
    fn step(&mut self, number: usize, queue: &mut dyn IoQueue) -> Result<bool, Error> {
        let Some(search) = self.searches.get_mut(number) else { return Ok(false) };
        let result = match search.advance(self.log) {
            Ok(SearchStep::Read) => {
                let tag = number as u64 * 2;
                let requests = search.read_mut().map(|read| read.requests(tag, self.log)).unwrap_or_default();
                for request in requests {
                    queue.submit(request)?;
                }
                return Ok(true);
            }
            Ok(SearchStep::Found(found)) => Ok(found),
            Err(error) => Err(error),
        };
        if let Some(place) = self.results.get_mut(number) {
            *place = Some(result);
        }
        Ok(false)
    }
}
