//! The sketch of a durable store: a map in memory and a map on "disk"; correct, or with one bug.

use oxifaster_sim::history::{Operation, Outcome, State};
use oxifaster_sim::model::{Contents, Ending, Failure, Fault, Subject};

/// What is wrong with a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A crash brings back unflushed updates of some keys.
    CrashKeepsSomeUpdates,
    /// A crash brings back all of them: more than the point.
    CrashKeepsAll,
    /// A crash loses one key of the point.
    CrashLosesAKey,
    /// A crash loses everything.
    CrashLosesAll,
    /// The second flush in a row is acknowledged and does nothing.
    FlushDoesNothing,
    /// A flush whose sync failed is acknowledged.
    SyncErrorIgnored,
    /// Close does not flush.
    CloseDoesNotFlush,
    /// Deletes are not durable.
    DeletedKeysComeBack,
    /// A compare-exchange does not compare.
    ExchangeDoesNotCompare,
    /// An insert overwrites.
    InsertOverwrites,
    /// A declined change is kept.
    DeclineChanges,
    /// Adding to an absent key does nothing.
    AddNeedsAKey,
    /// A removal answers with what was there, and leaves it.
    RemoveLeaves,
    /// Zero reads as absent.
    ZeroIsAbsent,
}

impl Bug {
    pub(crate) const ALL: &[Bug] = &[
        Bug::CrashKeepsSomeUpdates,
        Bug::CrashKeepsAll,
        Bug::CrashLosesAKey,
        Bug::CrashLosesAll,
        Bug::FlushDoesNothing,
        Bug::SyncErrorIgnored,
        Bug::CloseDoesNotFlush,
        Bug::DeletedKeysComeBack,
        Bug::ExchangeDoesNotCompare,
        Bug::InsertOverwrites,
        Bug::DeclineChanges,
        Bug::AddNeedsAKey,
        Bug::RemoveLeaves,
        Bug::ZeroIsAbsent,
    ];
}

pub(crate) struct Sketch {
    bug: Option<Bug>,
    memory: Contents,
    disk: Contents,
    fault: Option<(u64, bool)>,
    down: bool,
    flushes: u64,
}

impl Sketch {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Self { bug, memory: Contents::new(), disk: Contents::new(), fault: None, down: false, flushes: 0 }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn set(&mut self, key: u64, state: State) {
        match state {
            Some(value) => self.memory.insert(key, value),
            None => self.memory.remove(&key),
        };
    }

    /// A change of the device; an error when a planted fault is due.
    fn change(&mut self) -> Result<(), Failure> {
        match &mut self.fault {
            Some((0, _)) => self.down = true,
            Some((left, _)) => *left -= 1,
            None => {}
        }
        if self.down { Err(Failure::Down("power is lost".to_owned())) } else { Ok(()) }
    }

    fn make_durable(&mut self) {
        let kept = self.disk.clone();
        self.disk = self.memory.clone();
        if self.has(Bug::DeletedKeysComeBack) {
            kept.into_iter().for_each(|(key, value)| _ = self.disk.entry(key).or_insert(value));
        }
    }
}

impl Subject for Sketch {
    fn call(&mut self, key: u64, operation: Operation) -> Result<Outcome, Failure> {
        let state = self.memory.get(&key).copied();
        let state = if self.has(Bug::ZeroIsAbsent) { state.filter(|&value| value != 0) } else { state };
        let outcome = match operation {
            Operation::Read | Operation::Remove => Outcome::Value(state),
            Operation::Upsert(_) | Operation::Delete | Operation::Decline => Outcome::Done,
            Operation::InsertIfAbsent(_) => Outcome::Inserted(state.is_none()),
            Operation::CompareExchange { expected, .. } if state == Some(expected) => Outcome::Exchanged,
            Operation::CompareExchange { .. } => Outcome::Differs(state),
            Operation::Add(_) => Outcome::Inserted(state.is_none()),
        };
        let after = operation.apply(state, Some(outcome)).expect("the answer fits");
        let after = match (self.bug, operation) {
            (Some(Bug::ExchangeDoesNotCompare), Operation::CompareExchange { new, .. }) => Some(new),
            (Some(Bug::InsertOverwrites), Operation::InsertIfAbsent(value)) => Some(value),
            (Some(Bug::DeclineChanges), Operation::Decline) => state.map(|value| value.wrapping_add(1)),
            (Some(Bug::AddNeedsAKey), Operation::Add(_)) if state.is_none() => None,
            (Some(Bug::RemoveLeaves), Operation::Remove) => state,
            _ => after,
        };
        self.set(key, after);
        Ok(outcome)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.flushes += 1;
        if self.has(Bug::FlushDoesNothing) && self.flushes.is_multiple_of(2) {
            return Ok(());
        }
        let sync_fails = matches!(self.fault, Some((_, true)));
        match self.change() {
            Err(_) if sync_fails && self.has(Bug::SyncErrorIgnored) => return Ok(()),
            changed => changed?,
        }
        self.make_durable();
        // Power may also be lost behind the point and before the answer.
        self.change()
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.change()?;
        if !self.has(Bug::CloseDoesNotFlush) {
            self.make_durable();
        }
        Ok(())
    }

    fn end(&mut self, _: Ending) -> Result<(), Failure> {
        let mut newer = std::mem::take(&mut self.memory);
        match self.bug {
            Some(Bug::CrashKeepsAll) => self.disk = newer,
            Some(Bug::CrashKeepsSomeUpdates) => {
                newer.retain(|key, _| key.is_multiple_of(2));
                self.disk.extend(newer);
            }
            Some(Bug::CrashLosesAKey) => _ = self.disk.pop_last(),
            Some(Bug::CrashLosesAll) => self.disk.clear(),
            _ => {}
        }
        (self.fault, self.down) = (None, false);
        Ok(())
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.memory = self.disk.clone();
        Ok(())
    }

    fn plant(&mut self, fault: Fault) {
        self.fault = Some(match fault {
            Fault::PowerLossAfter(changes) | Fault::WriteFailsAfter(changes) => (changes, false),
            Fault::SyncFailsAfter(changes) => (changes, true),
        });
    }
}
