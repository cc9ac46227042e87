//! Blocks on their way to the device: a window that slides, so that the device finds the next request when it has done one.
//!
//! ```text
//!                written            submitted             walked
//!                   |                   |                    |
//!   ----------------+-------------------+--------------------+----
//!    on the device  |  requests: on     |  complete, waits   |
//!                   |  their way, done  |  for its turn      |
//! ```
//!
//! The writer's own: it submits, reaps and waits here. Invariants:
//! 1. Requests follow each other from `written` to `submitted`. `written` goes over the ones at the front that are done, whatever has
//!    completed behind them.
//! 2. Nothing is on its way when an error is returned, and everything from `written` on is to be submitted again. Its memory is as it
//!    was: nothing from `written` on is given up.

use std::collections::VecDeque;

use oxifaster_core::sync::canary;
use oxifaster_device::{
    Completion, DeviceError, IoBuffer, IoOperation, IoQueue, IoRequest, QueueOptions, Wait,
};

use crate::ring::LogRing;
use crate::transfer::{AnyDevice, REQUEST_BYTES, ROUNDS_MAX, moves_too_little};

/// Requests on their way at most.
const DEPTH: usize = 8;

/// A request of the window.
#[derive(Debug)]
struct Request {
    start: u64,
    end: u64,
    /// How often it was submitted.
    rounds: usize,
    done: bool,
}

/// See the module header.
#[derive(Debug)]
pub(crate) struct Outgoing {
    device: AnyDevice,
    /// Opened by the first write, and again behind an error: it may be the queue that is broken.
    queue: Option<Box<dyn IoQueue>>,
    requests: VecDeque<Request>,
    written: u64,
    submitted: u64,
    /// Memory of reaps.
    completions: Vec<Completion>,
}

impl Outgoing {
    /// For a log whose words below `written` are on the device.
    pub(crate) fn new(device: AnyDevice, written: u64) -> Self {
        Self {
            device,
            queue: None,
            requests: VecDeque::new(),
            written,
            submitted: written,
            completions: Vec::new(),
        }
    }

    /// Below it everything is on the device.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Below it everything is on the device or on its way.
    pub(crate) fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether no more requests fit into the window.
    pub(crate) fn is_full(&self) -> bool {
        self.requests.len() >= DEPTH
    }

    /// For a log that has no device.
    pub(crate) fn skip_to(&mut self, end: u64) {
        self.written = self.written.max(end);
        self.submitted = self.written;
    }

    /// Submits whole blocks of the ring up to `end`, as far as the window allows. Starts them, unless it is one alone and the caller
    /// is about to wait for it (`waits`): that one is done by the thread that reaps it.
    pub(crate) fn fill(&mut self, ring: &LogRing, end: u64, waits: bool) -> Result<(), DeviceError> {
        let before = self.submitted;
        while self.submitted < end && !self.is_full() {
            let start = self.submitted;
            let piece_end = end.min(ring.end_of_piece(start)).min(start + REQUEST_BYTES / 8);
            self.requests.push_back(Request { start, end: piece_end, rounds: 0, done: false });
            self.submitted = piece_end;
            let outcome = self.submit(ring, self.requests.len() - 1);
            if let Err(error) = outcome {
                // It is not on its way.
                self.requests.pop_back();
                self.submitted = start;
                return Err(self.give_up(error));
            }
        }
        let alone = waits && self.requests.len() == 1;
        if before == self.submitted || alone {
            return Ok(());
        }
        self.kick().map_err(|error| self.give_up(error))
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        self.queue.as_mut().map_or(Ok(()), |queue| queue.kick())
    }

    fn submit(&mut self, ring: &LogRing, place: usize) -> Result<(), DeviceError> {
        let Some(request) = self.requests.get_mut(place) else { return Ok(()) };
        request.rounds += 1;
        let (memory, words) = ring.memory_of(request.start..request.end);
        let operation = IoOperation::Write(IoBuffer::new(memory, words)?);
        let queue = match &mut self.queue {
            Some(queue) => queue,
            none => none.insert(self.device.open_queue(QueueOptions { depth: DEPTH })?),
        };
        queue.submit(IoRequest { tag: request.start, offset: request.start * 8, operation })
    }

    /// Takes what has completed; waits for something to complete if anything is on its way and `wait` says so.
    pub(crate) fn reap(&mut self, ring: &LogRing, wait: Wait) -> Result<(), DeviceError> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let outcome = self.reap_some(ring, wait);
        outcome.map_err(|error| self.give_up(error))
    }

    fn reap_some(&mut self, ring: &LogRing, wait: Wait) -> Result<(), DeviceError> {
        let mut failure = self.take_completions(wait).err();
        let mut again = Vec::new();
        for completion in self.completions.drain(..) {
            let Some(place) = self.requests.iter().position(|request| request.start == completion.tag) else {
                continue;
            };
            match self.requests.get_mut(place).map(|request| request.take(completion)) {
                Some(Ok(Taken::Done)) | None => {}
                Some(Ok(Taken::Short)) => again.push(place),
                Some(Err(error)) => failure = failure.or(Some(error)),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        if !again.is_empty() {
            again.into_iter().try_for_each(|place| self.submit(ring, place))?;
            self.kick()?;
        }
        self.go_over_done();
        Ok(())
    }

    fn take_completions(&mut self, wait: Wait) -> Result<(), DeviceError> {
        match &mut self.queue {
            Some(queue) => queue.reap(wait, &mut self.completions).map(|_| ()),
            None => Ok(()),
        }
    }

    fn go_over_done(&mut self) {
        let early = canary::armed("log_written_before_done");
        while let Some(first) = self.requests.pop_front_if(|first| first.done || early) {
            self.written = first.end;
        }
    }

    /// Waits for what is on its way, and forgets it (invariant 2). Returns the error.
    #[cold]
    fn give_up(&mut self, error: DeviceError) -> DeviceError {
        while self.queue.as_ref().is_some_and(|queue| queue.in_flight() > 0) {
            if self.take_completions(Wait::ForOne).is_err() {
                // Dropping it waits for what it has.
                self.queue = None;
            }
            for completion in self.completions.drain(..) {
                let mut requests = self.requests.iter_mut();
                if let Some(request) = requests.find(|request| request.start == completion.tag) {
                    // It was done, or will be submitted again; the first error is told.
                    let _: Result<Taken, DeviceError> = request.take(completion);
                }
            }
        }
        self.go_over_done();
        self.requests.clear();
        self.submitted = self.written;
        self.queue = None;
        error
    }

    /// Waits for what is on its way.
    pub(crate) fn finish(&mut self, ring: &LogRing) -> Result<(), DeviceError> {
        while !self.is_idle() {
            self.reap(ring, Wait::ForOne)?;
        }
        Ok(())
    }
}

/// What a completion was.
#[derive(Debug)]
enum Taken {
    Done,
    /// Fewer bytes than asked were moved.
    Short,
}

impl Request {
    fn take(&mut self, completion: Completion) -> Result<Taken, DeviceError> {
        let bytes = usize::try_from((self.end - self.start) * 8).unwrap_or(usize::MAX);
        match completion.result {
            Ok(moved) if moved == bytes || canary::armed("log_ignore_short_write") => {}
            Ok(moved) if self.rounds >= ROUNDS_MAX => {
                return Err(moves_too_little(moved).at_offset(completion.offset));
            }
            Ok(_) => return Ok(Taken::Short),
            Err(error) if canary::armed("log_ignore_write_error") => drop(error),
            Err(error) => return Err(error),
        }
        self.done = true;
        Ok(Taken::Done)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use oxifaster_device::BLOCK_WORDS;
    use oxifaster_device::fault::{FaultDevice, FaultPlan, Trigger};

    use super::*;
    use crate::transfer::read_all;

    const WORDS: u64 = REQUEST_BYTES / 8;

    /// A ring with words that tell their place, behind the reserved blocks of a device.
    fn ring(start: u64, words: u64) -> Result<LogRing, DeviceError> {
        let ring = LogRing::new(16 * WORDS, start, 1 << 40, 0)?;
        for at in start..start + words {
            ring.publish(at, at | 1 << 63);
        }
        Ok(ring)
    }

    fn check(device: &AnyDevice, start: u64, end: u64) -> Result<(), DeviceError> {
        let blocks = usize::try_from(end - start).map_or(0, |words| words / BLOCK_WORDS);
        if blocks == 0 {
            return Ok(());
        }
        let buffer = IoBuffer::zeroed(blocks)?;
        read_all(device.as_ref(), &[(start * 8, buffer.clone())])?;
        let mut bytes = vec![0; buffer.len_bytes()];
        buffer.load_bytes(&mut bytes);
        for (word, at) in bytes.as_chunks::<8>().0.iter().zip(start..) {
            assert_eq!(u64::from_le_bytes(*word), at | 1 << 63);
        }
        Ok(())
    }

    #[test]
    fn a_window_slides_over_what_is_done() {
        let fault = FaultDevice::new(1);
        fault.set_plan(FaultPlan::new().delay_by_reaps(0.5, 4).reorder(0.5).short_writes(0.3));
        let device: AnyDevice = Arc::new(fault);
        let start = device.geometry().reserved_bytes.next_multiple_of(REQUEST_BYTES) / 8;
        let (ring, end) = (ring(start, 14 * WORDS).unwrap(), start + 14 * WORDS);
        let mut outgoing = Outgoing::new(Arc::clone(&device), start);
        let mut before = start;
        while outgoing.written() < end {
            outgoing.fill(&ring, end, false).unwrap();
            assert!(outgoing.submitted() <= outgoing.written() + DEPTH as u64 * WORDS);
            outgoing.reap(&ring, Wait::ForOne).unwrap();
            assert!(before <= outgoing.written() && outgoing.written() <= outgoing.submitted());
            check(&device, start, outgoing.written()).unwrap();
            before = outgoing.written();
        }
        assert!(outgoing.is_idle());
    }

    #[test]
    fn what_failed_and_what_lies_behind_it_is_submitted_again() {
        let fault = FaultDevice::new(1);
        let device: AnyDevice = Arc::new(fault.clone());
        let start = device.geometry().reserved_bytes.next_multiple_of(REQUEST_BYTES) / 8;
        let (ring, end) = (ring(start, 6 * WORDS).unwrap(), start + 6 * WORDS);
        let mut outgoing = Outgoing::new(Arc::clone(&device), start);
        fault.set_plan(FaultPlan::new().fail_writes(Trigger::nth(3)));
        outgoing.fill(&ring, end, false).unwrap();
        outgoing.finish(&ring).unwrap_err();
        assert!(outgoing.is_idle(), "nothing is on its way");
        assert!(outgoing.written() < end && outgoing.submitted() == outgoing.written());
        check(&device, start, outgoing.written()).unwrap();
        outgoing.fill(&ring, end, false).unwrap();
        outgoing.finish(&ring).unwrap();
        check(&device, start, end).unwrap();
    }
}
