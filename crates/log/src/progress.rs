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

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oxifaster_core::sync::atomic::{AtomicU64, Ordering};
use oxifaster_core::sync::{Condvar, Mutex, MutexGuard, clock};
use oxifaster_core::{Address, Error, ErrorKind};

use crate::commit_record::Positions;
use crate::facts::KnownCommit;
use crate::mutation::{Mutation, planted};
use crate::requests::{Change, CommitInfo, Cut, Goal, Placed, Sleep, Work};
use crate::standing::Standing;

/// How long the writer sleeps at most while somebody waits for room: an entry below may be under way.
const ROOM_SLICE: Duration = Duration::from_micros(200);

mod changes;
mod room;

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
    /// The writer sleeps until something is appended or changed.
    idle: bool,
    /// Something was appended since it began to.
    appended: bool,
    retry: bool,
    stop: bool,
    /// What streams want the writer to pass.
    pass: Option<u64>,
    cut: Option<Cut>,
    cut_done: bool,
    written: VecDeque<Placed>,
    in_flight: usize,
    /// What the log is. Its commit is the last durable one.
    standing: Arc<Standing>,
    /// What the durable commit carries of the changes.
    durable_ticket: u64,
    /// The last failure, until something succeeds.
    failure: Option<Error>,
    failures: u64,
    /// Closed or poisoned.
    ended: Option<Error>,
    room_waiters: usize,
    /// Futures that wait for room, by what they registered as.
    room_wakers: Vec<(u64, Waker)>,
    waiting: Vec<Waiting>,
    next_id: u64,
    /// The positions that there are, or will be with the next commit.
    positions: Positions,
}

/// The state and its four conditions.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    work: Condvar,
    written: Condvar,
    changed: Condvar,
    room: Condvar,
    /// Parts of `standing` that are asked for without the lock. Stored behind it, with release; whoever loads one with acquire and then
    /// takes the lock finds a value that is as new.
    committed: AtomicU64,
    begin: AtomicU64,
    cuts: AtomicU64,
    in_flight_max: usize,
}

impl Progress {
    pub(crate) fn new(standing: Standing, in_flight_max: usize) -> Self {
        let (committed, begin, cuts) = (standing.committed(), standing.begin, standing.cuts);
        let positions = standing.commit.positions.clone();
        let reached = Goal { until: committed, ticket: 0 };
        let state = State {
            wanted: reached,
            placed: reached,
            changes: VecDeque::new(),
            last_ticket: 0,
            nudged: false,
            idle: false,
            appended: false,
            retry: false,
            stop: false,
            pass: None,
            cut: None,
            cut_done: false,
            written: VecDeque::new(),
            in_flight: 0,
            standing: Arc::new(standing),
            durable_ticket: 0,
            failure: None,
            failures: 0,
            ended: None,
            room_waiters: 0,
            room_wakers: Vec::new(),
            waiting: Vec::new(),
            next_id: 0,
            positions,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            written: Condvar::new(),
            changed: Condvar::new(),
            room: Condvar::new(),
            committed: AtomicU64::new(committed),
            begin: AtomicU64::new(begin),
            cuts: AtomicU64::new(cuts),
            in_flight_max,
        }
    }

    /// Everything below is durable.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// First address that exists.
    pub(crate) fn begin(&self) -> u64 {
        self.begin.load(Ordering::Acquire)
    }

    /// How often a suffix was dropped.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    /// What the log is now.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.state.lock().standing)
    }

    /// The last durable commit, for users.
    pub(crate) fn info(&self) -> CommitInfo {
        info_of(&self.standing().commit)
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
        if !goal.is_reached_by(state.reached()) {
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
        match address {
            None => drop(state.positions.remove(name)),
            Some(_) if !state.positions.contains_key(name) && state.positions.len() >= names_max => {
                return false;
            }
            Some(to) => drop(state.positions.insert(name.to_owned(), to)),
        }
        state.last_ticket += 1;
        state.changes.push_back(Change::Position(name.to_owned(), address));
        let idle = state.idle;
        drop(state);
        if idle {
            self.work.notify_one();
        }
        true
    }

    /// The address that was given to a name last, whether it is durable or not.
    pub(crate) fn latest_position(&self, name: &str) -> Option<u64> {
        self.state.lock().positions.get(name).copied()
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

    /// Waits until something is durable at `at`, where a stream has found nothing. It waits through failures.
    pub(crate) fn poll_beyond(
        &self,
        at: u64,
        id: &mut Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        // Not from the committed address of now: that may have risen since the stream looked.
        let from = if planted(Mutation::CommittedReadAgain) { self.committed().max(at) } else { at };
        self.poll(Goal { until: from + 1, ticket: 0 }, None, id, context).map_ok(|_| ())
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

    /// Tells the writer that appenders have come far. What has failed before is tried again: a policy asks for nothing else.
    #[cold]
    pub(crate) fn nudge(&self) {
        let mut state = self.state.lock();
        state.nudged = true;
        state.retry = true;
        drop(state);
        self.work.notify_one();
    }

    /// Failures so far.
    pub(crate) fn failures(&self) -> u64 {
        self.state.lock().failures
    }

    // ---- What the writer does.

    /// Waits for something to do, or as long as it is to sleep.
    pub(crate) fn wait_for_work(&self, sleep: Sleep) -> Work {
        let deadline = match sleep {
            Sleep::Until(deadline) => Some(deadline),
            Sleep::Not(deadline) => deadline,
            Sleep::Long | Sleep::Idle => None,
        };
        let mut state = self.state.lock();
        state.idle = sleep == Sleep::Idle;
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
                awake: state.idle && (state.appended || state.last_ticket > state.placed.ticket),
                retry: state.failure.is_some() && state.retry,
                pass: state.pass.take(),
                cut: state.cut.take(),
                stop: state.stop,
            };
            if work.is_for_the_device() || work.stop {
                state.nudged = false;
                state.retry = false;
            }
            if work.is_any() || matches!(sleep, Sleep::Not(_)) {
                state.idle = false;
                state.appended = false;
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

    /// Something was appended to a log that lay idle.
    pub(crate) fn wake_idle(&self) {
        self.state.lock().appended = true;
        self.work.notify_one();
    }

    /// Whether a commit may be placed now; for the policies.
    pub(crate) fn may_place(&self) -> bool {
        self.state.lock().in_flight < self.in_flight_max
    }

    /// A commit of everything below `until`, and of all changes, is wanted as soon as one may be placed. The writer, for a policy.
    pub(crate) fn want(&self, until: u64) {
        let mut state = self.state.lock();
        let ticket = state.last_ticket;
        state.wanted.join(Goal { until, ticket });
    }

    /// Whether there are changes that no placed commit carries.
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
        let mut wakers: Vec<Waker> = state.take_room_wakers();
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
        state.in_flight = state.in_flight.saturating_sub(count);
        state.durable_ticket = placed.ticket;
        let standing = Standing { commit: placed.commit, ..Standing::clone(&state.standing) };
        self.stand(&mut state, standing);
        let reached = state.reached();
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

    /// Lets both threads end.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.work.notify_all();
        self.written.notify_all();
    }
}

impl State {
    fn reached(&self) -> Goal {
        Goal { until: self.standing.committed(), ticket: self.durable_ticket }
    }

    fn take_room_wakers(&mut self) -> Vec<Waker> {
        self.room_wakers.drain(..).map(|(_, waker)| waker).collect()
    }

    fn forget(&mut self, id: u64) -> Option<Waiting> {
        let place = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.waiting.swap_remove(place))
    }
}

fn info_of(commit: &KnownCommit) -> CommitInfo {
    CommitInfo {
        number: commit.number,
        until: Address::from_low_bits(commit.until),
        entries: commit.entries,
        cookie: commit.cookie.clone(),
    }
}

fn outcome(state: &State, goal: Goal, failures_before: Option<u64>) -> Option<Result<CommitInfo, Error>> {
    if goal.is_reached_by(state.reached()) {
        return Some(Ok(info_of(&state.standing.commit)));
    }
    if let Some(ended) = &state.ended {
        return Some(Err(ended.duplicate()));
    }
    let over = "a commit failed, and a later one has not covered it yet: commit again";
    failure_since(state, failures_before?, over).map(Err)
}

/// The failure that came behind `failures_before`; `over` says what one is that was overcome meanwhile.
fn failure_since(state: &State, failures_before: u64, over: &str) -> Option<Error> {
    if state.failures == failures_before {
        return None;
    }
    let gone = || Error::new(ErrorKind::Io, over.to_owned());
    Some(state.failure.as_ref().map_or_else(gone, Error::duplicate))
}

#[cfg(all(test, not(loom)))]
mod tests;
