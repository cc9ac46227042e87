//! A queue that executes requests on its caller's thread, in the order and with the delay that the plan wants.
//!
//! Callers: whoever opened it through the device contract. It holds no image: each request is executed under the device's
//! lock, so queues of several threads share one history.
//!
//! A request is *waiting* until the next kick or reap has room for it, *delayed* when the plan says so, *done* when it was
//! executed: then its completion is reapable. `waiting + delayed + done` is what is in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::image::Patch;
use super::plan::Delay;
use super::state::{Life, State};
use crate::device::Geometry;
use crate::error::DeviceError;
use crate::queue::{Completion, IoOperation, IoQueue, IoRequest, QueueOptions, Wait};
use crate::sync::{Mutex, clock, thread};

/// A request and the device's position when it was submitted (what a sync covers).
#[derive(Debug)]
struct Accepted {
    request: IoRequest,
    position: u64,
}

/// When a delayed request is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// At the reap of this number.
    Reap(u64),
    /// At this time.
    At(Instant),
}

/// A request in flight; the number of its write, if it is one.
#[derive(Debug)]
struct Delayed {
    accepted: Accepted,
    due: Due,
    write: Option<u64>,
}

/// A queue of a fault device.
#[derive(Debug)]
pub(super) struct FaultQueue {
    shared: Arc<Mutex<State>>,
    geometry: Geometry,
    depth: usize,
    waiting: VecDeque<Accepted>,
    delayed: Vec<Delayed>,
    done: VecDeque<Completion>,
    reaps: u64,
}

impl FaultQueue {
    pub(super) fn new(shared: Arc<Mutex<State>>, geometry: Geometry, options: QueueOptions) -> Self {
        Self {
            shared,
            geometry,
            depth: options.depth,
            waiting: VecDeque::new(),
            delayed: Vec::new(),
            done: VecDeque::new(),
            reaps: 0,
        }
    }

    /// Starts waiting requests as far as the depth allows: each is executed, or delayed.
    fn start(&mut self) {
        let busy = self.delayed.len() + self.done.len();
        let room = self.depth.saturating_sub(busy).min(self.waiting.len());
        if room == 0 {
            return;
        }
        let mut state = self.shared.lock();
        if let Some(batch) = self.waiting.make_contiguous().get_mut(..room) {
            state.shuffle(batch);
        }
        for accepted in self.waiting.drain(..room) {
            match state.draw_delay() {
                None => self.done.push_back(execute(&mut state, accepted, None)),
                Some(delay) => {
                    let due = match delay {
                        Delay::Reaps(reaps) => Due::Reap(self.reaps + reaps),
                        Delay::Time(time) => Due::At(clock::now() + time),
                    };
                    let write = match &accepted.request.operation {
                        IoOperation::Write(buffer) => {
                            Some(state.begin_write(accepted.request.offset, buffer))
                        }
                        IoOperation::Read(_) | IoOperation::Sync => None,
                    };
                    self.delayed.push(Delayed { accepted, due, write });
                }
            }
        }
    }

    /// Executes the delayed requests that are due; all of them when the device is not open any more.
    fn release_due(&mut self) {
        if self.delayed.is_empty() {
            return;
        }
        let now = clock::now();
        let mut state = self.shared.lock();
        let open = state.life == Life::Open;
        let reaps = self.reaps;
        let is_due = |delayed: &mut Delayed| match delayed.due {
            Due::Reap(reap) => !open || reap <= reaps,
            Due::At(time) => !open || time <= now,
        };
        for delayed in self.delayed.extract_if(.., is_due) {
            self.done.push_back(execute(&mut state, delayed.accepted, delayed.write));
        }
    }

    /// Executes the delayed request that is due next, waiting for its time if it has one.
    fn release_next(&mut self) {
        let next = self.delayed.iter().enumerate().min_by_key(|(_, delayed)| match delayed.due {
            Due::Reap(reap) => (reap, None),
            Due::At(time) => (u64::MAX, Some(time)),
        });
        let Some((index, due)) = next.map(|(index, delayed)| (index, delayed.due)) else {
            return;
        };
        if let Due::At(time) = due {
            thread::sleep(time.saturating_duration_since(clock::now()));
        }
        let delayed = self.delayed.remove(index);
        let completion = execute(&mut self.shared.lock(), delayed.accepted, delayed.write);
        self.done.push_back(completion);
    }
}

/// Executes a request; `write` is the number of a write that was delayed.
fn execute(state: &mut State, accepted: Accepted, write: Option<u64>) -> Completion {
    let IoRequest { tag, offset, operation } = accepted.request;
    let result = match &operation {
        IoOperation::Read(buffer) => state.read(offset, buffer),
        IoOperation::Write(buffer) => {
            let started = write.and_then(|number| state.take_started(number));
            state.write(offset, || started.unwrap_or_else(|| Patch::copy_of(offset, buffer.words())))
        }
        IoOperation::Sync => state.sync(accepted.position),
    };
    Completion { tag, offset, result, operation }
}

impl IoQueue for FaultQueue {
    fn submit(&mut self, request: IoRequest) -> Result<(), DeviceError> {
        request.check(&self.geometry)?;
        let position = match request.operation {
            IoOperation::Sync => self.shared.lock().position(),
            IoOperation::Read(_) | IoOperation::Write(_) => 0,
        };
        self.waiting.push_back(Accepted { request, position });
        Ok(())
    }

    fn kick(&mut self) -> Result<(), DeviceError> {
        self.start();
        Ok(())
    }

    fn reap(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> Result<usize, DeviceError> {
        self.reaps += 1;
        self.start();
        self.release_due();
        if self.done.is_empty() && wait == Wait::ForOne {
            self.release_next();
        }
        let reaped = self.done.len();
        if reaped > 1 {
            self.shared.lock().shuffle(self.done.make_contiguous());
        }
        completions.extend(self.done.drain(..));
        Ok(reaped)
    }

    fn in_flight(&self) -> usize {
        self.waiting.len() + self.delayed.len() + self.done.len()
    }
}

impl Drop for FaultQueue {
    /// Everything submitted takes effect. Nobody is left to look at the results: the caller gave them up with the queue.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        for delayed in self.delayed.drain(..) {
            drop(execute(&mut state, delayed.accepted, delayed.write));
        }
        for accepted in self.waiting.drain(..) {
            drop(execute(&mut state, accepted, None));
        }
    }
}
