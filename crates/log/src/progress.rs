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
use std::time::{Duration, Instant};

use oxifaster_core::sync::atomic::{AtomicU64, Ordering};
use oxifaster_core::sync::{Condvar, Mutex, MutexGuard, clock};
use oxifaster_core::{Address, Error, ErrorKind};

use crate::commit_record::Positions;
use crate::facts::{KnownCommit, LogFacts};
use crate::mutation::{Mutation, planted};
use crate::requests::{Change, CommitInfo, Cut, Goal, Placed, Work};
use crate::standing::Standing;
use crate::timeline::Timeline;

/// How long the writer sleeps at most while somebody waits for room: an entry below may be under way.
const ROOM_SLICE: Duration = Duration::from_micros(200);

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
    room_wakers: Vec<Waker>,
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
        let Some(to) = address else {
            state.positions.remove(name);
            state.change_position(name, None);
            return true;
        };
        if !state.positions.contains_key(name) && state.positions.len() >= names_max {
            return false;
        }
        state.positions.insert(name.to_owned(), to);
        state.change_position(name, address);
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

    /// Tells the writer that appenders have come far.
    #[cold]
    pub(crate) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.work.notify_one();
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

    /// A commit of everything below `until`, and of all changes, is wanted as soon as one may be placed. The writer, for a policy.
    pub(crate) fn want(&self, until: u64) {
        let mut state = self.state.lock();
        let ticket = state.last_ticket;
        state.wanted.join(Goal { until, ticket });
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

    /// A cut is on the device: the log ends with `commit` now, under `timeline`. Under the lock of the metadata; whoever waits is told
    /// behind it, by [`cut_done`](Self::cut_done).
    pub(crate) fn cut_made(&self, commit: Arc<KnownCommit>, timeline: Arc<Timeline>) {
        let mut state = self.state.lock();
        let cuts = state.standing.cuts + 1;
        let standing = Standing { commit, timeline, cuts, ..Standing::clone(&state.standing) };
        self.stand(&mut state, standing);
        // All that was placed was durable before the cut. What is wanted stays wanted: it may have been asked for during the cut.
        state.placed = state.reached();
        if planted(Mutation::CutForgetsRequests) {
            state.wanted = state.placed;
        }
    }

    /// Tells everybody that the log was cut.
    pub(crate) fn cut_done(&self) {
        let mut state = self.state.lock();
        state.cut_done = true;
        self.wake_everybody(state);
    }

    /// The front was truncated; under the lock of the metadata.
    pub(crate) fn begin_moved(&self, begin: u64, begin_entry: u64, timeline: Arc<Timeline>) {
        let mut state = self.state.lock();
        let standing = Standing { begin, begin_entry, timeline, ..Standing::clone(&state.standing) };
        self.stand(&mut state, standing);
    }

    /// Another process has written metadata. `other_line`: it dropped a suffix, or has opened the log again.
    pub(crate) fn follow(&self, facts: &LogFacts, timeline: Arc<Timeline>, other_line: bool) {
        let mut state = self.state.lock();
        let mut standing = Standing::new(facts, timeline);
        standing.cuts = state.standing.cuts + u64::from(other_line);
        if !other_line && standing.committed() < state.standing.committed() {
            standing.commit = Arc::clone(&state.standing.commit);
        }
        let news = other_line || standing.committed() > state.standing.committed();
        self.stand(&mut state, standing);
        if news {
            // Everybody should look what became of his place.
            self.wake_everybody(state);
        }
    }

    fn stand(&self, state: &mut State, standing: Standing) {
        let (committed, begin, cuts) = (standing.committed(), standing.begin, standing.cuts);
        state.standing = Arc::new(standing);
        self.committed.store(committed, Ordering::Release);
        self.begin.store(begin, Ordering::Release);
        self.cuts.store(cuts, Ordering::Release);
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

    fn change_position(&mut self, name: &str, address: Option<u64>) {
        self.last_ticket += 1;
        self.changes.push_back(Change::Position(name.to_owned(), address));
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
mod tests;
