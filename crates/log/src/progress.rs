//! Who wants what to be durable, how far it is, and who waits: the one lock of the log, never taken by an append that finds room.
//!
//! ```text
//!   committers --request(goal)--> writer --hand_over(commit)--> syncer --durable(commit)--> waiters, futures, tails
//!   streams    --ask_to_pass----> writer --listeners.tell-----------------------------------> streams of what is not committed
//!   appenders  --wait_for_room--> writer --room_made----------------------------------------> appenders
//! ```
//!
//! | condition | who waits | for what |
//! |---|---|---|
//! | `work` | the writer | a request, a nudge, a place among the commits in flight, the end |
//! | `written` | the syncer | a commit that is written, the end |
//! | `changed` | committers, cuts | a durable commit, a failure, the end |
//! | `room` | appenders | released words, a failure, the end |
//!
//! Invariants, watched by `model`:
//! 1. The state changes under the lock before anybody is woken; whoever waits looks under the same lock first. No wake-up is lost.
//! 2. A goal is reached when a commit that covers it is durable, not earlier; until then each of its waiters gets a failure that
//!    happens after its request, or the end.
//! 3. Wakers are woken, and dropped, outside of the lock.

use std::collections::{BTreeSet, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use oxifaster_core::sync::atomic::{AtomicU64, Ordering};
use oxifaster_core::sync::{Condvar, Mutex, MutexGuard, clock};
use oxifaster_core::{Address, Error, ErrorKind};

use crate::facts::KnownCommit;
use crate::mutation::{Mutation, planted};
use crate::requests::{Change, CommitInfo, Cut, Goal, Placed, Work};

/// How long the writer sleeps at most while somebody waits for room: an entry below may be under way.
const ROOM_SLICE: Duration = Duration::from_micros(200);

#[derive(Debug)]
struct Waiting {
    id: u64,
    goal: Goal,
    waker: Waker,
}

#[derive(Debug)]
struct State {
    wanted: Goal,
    /// What the placed commits reach.
    placed: Goal,
    changes: VecDeque<Change>,
    /// Ticket of the last change.
    last_ticket: u64,
    nudged: bool,
    retry: bool,
    stop: bool,
    /// What streams want the writer to pass.
    pass: Option<u64>,
    cut: Option<Cut>,
    cut_done: bool,
    written: VecDeque<Placed>,
    in_flight: usize,
    durable: Placed,
    /// The last failure, until something succeeds.
    failure: Option<Error>,
    failures: u64,
    /// Closed or poisoned.
    ended: Option<Error>,
    room_waiters: usize,
    room_wakers: Vec<Waker>,
    waiting: Vec<Waiting>,
    next_id: u64,
    /// Names that positions have, or will have with the next commit.
    names: BTreeSet<String>,
}

/// The state and its four conditions.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    work: Condvar,
    written: Condvar,
    changed: Condvar,
    room: Condvar,
    /// `durable.commit.until`, for readers. Release pairs with their acquire.
    committed: AtomicU64,
    in_flight_max: usize,
}

impl Progress {
    pub(crate) fn new(durable: KnownCommit, in_flight_max: usize) -> Self {
        let committed = durable.until;
        let names = durable.positions.keys().cloned().collect();
        let durable = Placed { commit: durable, ticket: 0 };
        let state = State {
            wanted: durable.reaches(),
            placed: durable.reaches(),
            changes: VecDeque::new(),
            last_ticket: 0,
            nudged: false,
            retry: false,
            stop: false,
            pass: None,
            cut: None,
            cut_done: false,
            written: VecDeque::new(),
            in_flight: 0,
            durable,
            failure: None,
            failures: 0,
            ended: None,
            room_waiters: 0,
            room_wakers: Vec::new(),
            waiting: Vec::new(),
            next_id: 0,
            names,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            written: Condvar::new(),
            changed: Condvar::new(),
            room: Condvar::new(),
            committed: AtomicU64::new(committed),
            in_flight_max,
        }
    }

    /// Everything below is durable.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The last durable commit.
    pub(crate) fn durable(&self) -> KnownCommit {
        self.state.lock().durable.commit.clone()
    }

    /// The same, for users.
    pub(crate) fn info(&self) -> CommitInfo {
        info_of(&self.state.lock().durable)
    }

    /// Why the log does nothing any more.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.state.lock().ended.as_ref().map(Error::duplicate)
    }

    // ---- What committers do.

    /// Wants everything below `until` to be durable, and all changes made so far together with `change`. Returns the goal, and how
    /// many failures there were before.
    pub(crate) fn request(&self, until: u64, change: Option<Change>) -> (Goal, u64) {
        let mut state = self.state.lock();
        if let Some(change) = change {
            state.last_ticket += 1;
            state.changes.push_back(change);
        }
        let goal = Goal { until, ticket: state.last_ticket };
        let failures = state.failures;
        if !goal.is_reached_by(state.durable.reaches()) {
            state.wanted.join(goal);
            state.retry = true;
            drop(state);
            if !planted(Mutation::RequestWithoutNotify) {
                self.work.notify_one();
            }
        }
        (goal, failures)
    }

    /// A position for the next commit to carry; does not ask for one. False: there would be more names than `names_max`.
    pub(crate) fn set_position(&self, name: &str, address: Option<u64>, names_max: usize) -> bool {
        let mut state = self.state.lock();
        if address.is_none() {
            state.names.remove(name);
        } else if !state.names.contains(name) {
            if state.names.len() >= names_max {
                return false;
            }
            state.names.insert(name.to_owned());
        }
        state.last_ticket += 1;
        state.changes.push_back(Change::Position(name.to_owned(), address));
        true
    }

    /// Waits until the goal is reached.
    pub(crate) fn wait(&self, goal: Goal, failures_before: u64) -> Result<CommitInfo, Error> {
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = outcome(&state, goal, Some(failures_before)) {
                return outcome;
            }
            if planted(Mutation::WaitsWithoutLook) {
                drop(state);
                state = self.state.lock();
            }
            state = self.changed.wait(state);
        }
    }

    /// The same for a future; `id` is what it registered as. Without a number of failures it waits through them.
    pub(crate) fn poll(
        &self,
        goal: Goal,
        failures_before: Option<u64>,
        id: &mut Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<Result<CommitInfo, Error>> {
        let mut state = self.state.lock();
        if let Some(outcome) = outcome(&state, goal, failures_before) {
            let former = id.take().and_then(|id| state.forget(id));
            drop(state);
            drop(former);
            return Poll::Ready(outcome);
        }
        if planted(Mutation::WakerBehindLook) {
            drop(state);
            state = self.state.lock();
        }
        let former = id.and_then(|id| state.forget(id));
        state.next_id += 1;
        *id = Some(state.next_id);
        let waiting = Waiting { id: state.next_id, goal, waker: context.waker().clone() };
        state.waiting.push(waiting);
        drop(state);
        drop(former);
        Poll::Pending
    }

    /// A future that registered as `id` is gone.
    pub(crate) fn forget(&self, id: u64) {
        let former = self.state.lock().forget(id);
        drop(former);
    }

    /// Wants the writer to pass `address`, below which entries are being filled in, and to tell the listeners then.
    pub(crate) fn ask_to_pass(&self, address: u64) {
        let mut state = self.state.lock();
        state.pass = state.pass.max(Some(address));
        drop(state);
        self.work.notify_one();
    }

    // ---- What appenders do.

    /// Tells the writer that appenders have come far.
    #[cold]
    pub(crate) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.work.notify_one();
    }

    /// Waits until `ready` says so. `ready` is asked under the lock.
    pub(crate) fn wait_for_room(&self, ready: impl Fn() -> bool) -> Result<(), Error> {
        let mut state = self.state.lock();
        let failures_before = state.failures;
        state.retry = true;
        state.room_waiters += 1;
        let outcome = loop {
            if let Some(ended) = &state.ended {
                break Err(ended.duplicate());
            }
            if ready() {
                break Ok(());
            }
            if let Some(error) = failure_since(&state, failures_before) {
                break Err(error);
            }
            self.work.notify_one();
            state = self.room.wait(state);
        };
        state.room_waiters -= 1;
        outcome
    }

    /// The same for a future, which asks again when woken.
    pub(crate) fn poll_for_room(
        &self,
        failures_before: u64,
        ready: impl Fn() -> bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut state = self.state.lock();
        if let Some(ended) = &state.ended {
            return Poll::Ready(Err(ended.duplicate()));
        }
        if ready() {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = failure_since(&state, failures_before) {
            return Poll::Ready(Err(error));
        }
        state.retry = true;
        state.room_wakers.push(context.waker().clone());
        drop(state);
        self.work.notify_one();
        Poll::Pending
    }

    /// Failures so far.
    pub(crate) fn failures(&self) -> u64 {
        self.state.lock().failures
    }

    // ---- What the writer does.

    /// Waits for something to do, or for the deadline.
    pub(crate) fn wait_for_work(&self, deadline: Option<Instant>) -> Work {
        let mut state = self.state.lock();
        loop {
            let now = deadline.map(|_| clock::now());
            let due = deadline.zip(now).is_some_and(|(deadline, now)| now >= deadline);
            let room_wanted = state.room_waiters > 0 || !state.room_wakers.is_empty();
            let may_try = state.failure.is_none() || state.retry;
            let unplaced = !state.wanted.is_reached_by(state.placed);
            let work = Work {
                commit: unplaced && may_try && state.in_flight < self.in_flight_max,
                flush: state.nudged && may_try,
                due,
                retry: state.failure.is_some() && state.retry,
                pass: state.pass.take(),
                cut: state.cut.take(),
                stop: state.stop,
            };
            if work.is_for_the_device() || work.stop {
                state.nudged = false;
                state.retry = false;
                return work;
            }
            if work.pass.is_some() {
                return work;
            }
            let until_due = deadline.zip(now).map(|(deadline, now)| deadline.saturating_duration_since(now));
            let slice = match (room_wanted && may_try, until_due) {
                (true, due) => Some(due.map_or(ROOM_SLICE, |due| due.min(ROOM_SLICE))),
                (false, due) => due,
            };
            let Some(slice) = slice else {
                state = self.work.wait(state);
                continue;
            };
            let (next, timed_out) = self.work.wait_timeout(state, slice);
            state = next;
            if timed_out && room_wanted {
                state.nudged = true;
            }
        }
    }

    /// Whether a commit may be placed now; for the policies.
    pub(crate) fn may_place(&self) -> bool {
        self.state.lock().in_flight < self.in_flight_max
    }

    /// Whether anything wants a commit that `placed` does not cover, the changes included.
    pub(crate) fn has_unplaced_changes(&self) -> bool {
        let state = self.state.lock();
        state.last_ticket > state.placed.ticket
    }

    /// Takes the changes that the next commit carries: one cookie at most. Returns the ticket of the last one.
    pub(crate) fn take_changes(&self, taken: &mut Vec<Change>) -> u64 {
        let mut state = self.state.lock();
        while let Some(change) = state.changes.pop_front() {
            let ends = matches!(change, Change::Cookie(_));
            taken.push(change);
            if ends {
                break;
            }
        }
        state.last_ticket - state.changes.len() as u64
    }

    /// A commit has its place in the log.
    pub(crate) fn placed(&self, placed: &Placed) {
        let mut state = self.state.lock();
        state.placed = placed.reaches();
        state.in_flight += 1;
    }

    /// A placed commit is written: the syncer's turn.
    pub(crate) fn hand_over(&self, placed: Placed) {
        self.state.lock().written.push_back(placed);
        self.written.notify_one();
    }

    /// Blocks were written, so the failure is over, or words were released. The writer, or truncation.
    pub(crate) fn room_made(&self) {
        let mut state = self.state.lock();
        state.failure = None;
        let wakers = std::mem::take(&mut state.room_wakers);
        let anybody = state.room_waiters > 0;
        drop(state);
        if anybody && !planted(Mutation::RoomWithoutNotify) {
            self.room.notify_all();
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Something failed that may be tried again. Everybody who waits is told.
    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.state.lock();
        state.failures += 1;
        state.failure = Some(error);
        self.wake_everybody(state);
    }

    /// Nothing more happens: a failed sync, or a close.
    pub(crate) fn end(&self, error: Error) {
        let mut state = self.state.lock();
        state.ended.get_or_insert(error);
        self.wake_everybody(state);
    }

    /// Waits until nothing is on its way to the device, or the log has ended.
    pub(crate) fn wait_until_durable(&self, goal: Goal) -> Result<(), Error> {
        let failures = self.failures();
        self.wait(goal, failures).map(|_| ())
    }

    fn wake_everybody(&self, mut state: MutexGuard<'_, State>) {
        let mut wakers = std::mem::take(&mut state.room_wakers);
        wakers.extend(state.waiting.drain(..).map(|waiting| waiting.waker));
        drop(state);
        if planted(Mutation::FailureToldOnce) {
            self.changed.notify_one();
        } else {
            self.changed.notify_all();
        }
        self.room.notify_all();
        self.work.notify_all();
        self.written.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    // ---- What the syncer does.

    /// The last of the commits that are written, with how many there are; `None` at the end. `Err`: nothing came for `idle_after`.
    pub(crate) fn next_to_sync(&self, idle_after: Option<Duration>) -> Result<Option<(Placed, usize)>, ()> {
        let mut state = self.state.lock();
        loop {
            let count = state.written.len();
            if let Some(last) = state.written.pop_back() {
                state.written.clear();
                return Ok(Some((last, count)));
            }
            if state.stop {
                return Ok(None);
            }
            match idle_after {
                None => state = self.written.wait(state),
                Some(time) => {
                    let (next, timed_out) = self.written.wait_timeout(state, time);
                    state = next;
                    if timed_out && state.written.is_empty() && !state.stop {
                        return Err(());
                    }
                }
            }
        }
    }

    /// A commit, and `count - 1` before it, are durable.
    pub(crate) fn durable_now(&self, placed: Placed, count: usize) {
        let mut state = self.state.lock();
        self.committed.store(placed.commit.until, Ordering::Release);
        state.in_flight = state.in_flight.saturating_sub(count);
        let reached = placed.reaches();
        state.durable = placed;
        let waiting = std::mem::take(&mut state.waiting);
        let (done, rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiting| waiting.goal.is_reached_by(reached));
        state.waiting = rest;
        drop(state);
        if !planted(Mutation::DurableWithoutNotify) {
            self.changed.notify_all();
        }
        self.work.notify_one();
        done.into_iter().for_each(|waiting| waiting.waker.wake());
    }

    // ---- What the handle does.

    /// Hands a cut to the writer and waits for its end.
    pub(crate) fn cut(&self, cut: Cut) -> Result<(), Error> {
        let mut state = self.state.lock();
        let failures_before = state.failures;
        state.cut = Some(cut);
        state.cut_done = false;
        self.work.notify_one();
        loop {
            if state.cut_done {
                return Ok(());
            }
            if let Some(ended) = &state.ended {
                return Err(ended.duplicate());
            }
            if let Some(error) = failure_since(&state, failures_before) {
                // If the writer has not taken it, it must not do so once the ring is open again.
                state.cut = None;
                return Err(error);
            }
            state = self.changed.wait(state);
        }
    }

    /// A cut is durable: the log ends here now.
    pub(crate) fn cut_done(&self, commit: KnownCommit) {
        let mut state = self.state.lock();
        self.committed.store(commit.until, Ordering::Release);
        let ticket = state.durable.ticket;
        state.durable = Placed { commit, ticket };
        state.placed = state.durable.reaches();
        state.wanted = state.placed;
        state.cut_done = true;
        self.wake_everybody(state);
    }

    /// Lets both threads end.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.work.notify_all();
        self.written.notify_all();
    }
}

impl State {
    fn forget(&mut self, id: u64) -> Option<Waiting> {
        let place = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.waiting.swap_remove(place))
    }
}

fn info_of(placed: &Placed) -> CommitInfo {
    let commit = &placed.commit;
    CommitInfo {
        number: commit.number,
        until: Address::from_low_bits(commit.until),
        entries: commit.entries,
        cookie: commit.cookie.clone(),
    }
}

fn outcome(state: &State, goal: Goal, failures_before: Option<u64>) -> Option<Result<CommitInfo, Error>> {
    if goal.is_reached_by(state.durable.reaches()) {
        return Some(Ok(info_of(&state.durable)));
    }
    if let Some(ended) = &state.ended {
        return Some(Err(ended.duplicate()));
    }
    failure_since(state, failures_before?).map(Err)
}

fn failure_since(state: &State, failures_before: u64) -> Option<Error> {
    if state.failures == failures_before {
        return None;
    }
    let unknown =
        || Error::new(ErrorKind::Io, "a commit failed, and a later one has not covered it yet: commit again");
    Some(state.failure.as_ref().map_or_else(unknown, Error::duplicate))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A commit is being synced when the next one fails to be written. That the first becomes durable must not hide the failure: a
    /// later request has nothing new to place, and only a retry can help it.
    #[test]
    fn a_failure_outlives_the_sync_of_an_earlier_commit() {
        let commit = |until| KnownCommit { until, ..KnownCommit::default() };
        let progress = Progress::new(commit(8), 4);
        let placed = [16, 24].map(|until| {
            progress.request(until, None);
            let placed = Placed { commit: commit(until), ticket: 0 };
            progress.placed(&placed);
            placed
        });
        let soon = || Some(clock::now() + Duration::from_millis(20));
        assert!(progress.wait_for_work(soon()).due, "both commits are placed");
        let [first, _second] = placed;
        progress.hand_over(first.clone());
        progress.fail(Error::new(ErrorKind::Io, "the second can't be written"));
        progress.durable_now(first, 1);
        progress.request(20, None);
        assert!(progress.wait_for_work(soon()).retry);
    }
}
