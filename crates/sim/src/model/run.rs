//! Runs a plan on a subject and on the oracle, step by step.

use std::fmt;
use std::ops::AddAssign;

use super::oracle::{Contents, Oracle};
use super::plan::{Plan, Step};
use super::subject::{Ending, Failure, Subject};
use crate::history::{Operation, Outcome};
use crate::workload::mix;

/// What runs did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Operations answered.
    pub operations: u64,
    /// Flushes and closes that were acknowledged.
    pub points: u64,
    /// Restarts after a kill, a power loss or an injected fault.
    pub crashes: u64,
    /// Those of them after which keys were there.
    pub crashes_with_contents: u64,
    /// Calls that an injected fault made fail.
    pub faults_seen: u64,
}

impl AddAssign for Ran {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.points += other.points;
        self.crashes += other.crashes;
        self.crashes_with_contents += other.crashes_with_contents;
        self.faults_seen += other.faults_seen;
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The step at which it showed, from 0; the number of steps for the end.
    pub step: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at step {}: {}", self.step, self.message)
    }
}

struct Run<'s> {
    subject: &'s mut dyn Subject,
    oracle: Oracle,
    keys: u64,
    seed: u64,
    ran: Ran,
}

/// Runs a plan on a subject whose store is open and empty.
///
/// # Errors
/// The first broken promise.
pub fn run(plan: &Plan, subject: &mut dyn Subject) -> Result<Ran, Broken> {
    let mut run =
        Run { subject, oracle: Oracle::default(), keys: plan.keys, seed: plan.seed, ran: Ran::default() };
    for (place, &step) in plan.steps.iter().enumerate() {
        run.step(step).map_err(|message| Broken { step: place, message })?;
    }
    let at_end = |message| Broken { step: plan.steps.len(), message };
    run.step(Step::ReadAll).map_err(at_end)?;
    run.step(Step::Reopen).map_err(at_end)?;
    Ok(run.ran)
}

impl Run<'_> {
    fn step(&mut self, step: Step) -> Result<(), String> {
        let done = match step {
            Step::Read(key) => self.call(key, Operation::Read),
            Step::Upsert(key, number) => self.call(key, Operation::Upsert(number)),
            Step::Add(key, number) => self.call(key, Operation::Add(number)),
            Step::Decline(key) => self.call(key, Operation::Decline),
            Step::Delete(key) => self.call(key, Operation::Delete),
            Step::Remove(key) => self.call(key, Operation::Remove),
            Step::InsertIfAbsent(key, number) => self.call(key, Operation::InsertIfAbsent(number)),
            Step::Exchange(key, new) => {
                let expected = self.oracle.state(key).unwrap_or(new);
                self.call(key, Operation::CompareExchange { expected, new })
            }
            Step::ExchangeWrongly(key, new) => {
                let expected = self.oracle.state(key).map_or(new, |number| number ^ 1);
                self.call(key, Operation::CompareExchange { expected, new })
            }
            Step::Burst { key, count, number } => (0..count).try_for_each(|n| {
                self.call((key + n) % self.keys, Operation::Upsert(number.wrapping_add(n)))
            }),
            Step::Batch { operation, key, count } => self.call_batch(operation, key, count),
            Step::ReadAll => self.read_all().and_then(|found| self.violation_if(self.oracle.compare(&found))),
            Step::Flush => self.flush(),
            Step::Reopen => self.reopen(),
            Step::Kill => return self.crash(Ending::Kill),
            Step::LosePower(seed) => return self.crash(Ending::PowerLoss(seed)),
            Step::Plant(fault) => {
                self.subject.plant(fault);
                Ok(())
            }
        };
        match done {
            Ok(()) => Ok(()),
            Err(Failure::Violation(message)) => Err(message),
            Err(Failure::Down(_)) => {
                self.ran.faults_seen += 1;
                let seed = mix(self.seed ^ self.ran.crashes);
                self.crash(if seed.is_multiple_of(4) { Ending::Kill } else { Ending::PowerLoss(seed) })
            }
        }
    }

    fn violation_if(&self, compared: Result<(), String>) -> Result<(), Failure> {
        compared.map_err(Failure::Violation)
    }

    fn call(&mut self, key: u64, operation: Operation) -> Result<(), Failure> {
        let key = key % self.keys;
        let outcome = self.subject.call(key, operation)?;
        self.ran.operations += 1;
        self.oracle.answered(key, operation, outcome).map_err(Failure::Violation)
    }

    fn call_batch(&mut self, operation: Operation, first: u64, count: u64) -> Result<(), Failure> {
        let items: Vec<(u64, Operation)> = (0..count)
            .map(|n| ((first + mix(first ^ n) % count) % self.keys, operation.with_number_raised_by(n)))
            .collect();
        let outcomes = self.subject.call_batch(&items)?;
        if outcomes.len() != items.len() {
            return Err(Failure::Violation(format!("{} calls, {} answers", items.len(), outcomes.len())));
        }
        self.ran.operations += count;
        items.into_iter().zip(outcomes).try_for_each(|((key, operation), outcome)| {
            self.oracle.answered(key, operation, outcome).map_err(Failure::Violation)
        })
    }

    fn read_all(&mut self) -> Result<Contents, Failure> {
        let mut found = Contents::new();
        for key in 0..self.keys {
            match self.subject.call(key, Operation::Read)? {
                Outcome::Value(Some(number)) => _ = found.insert(key, number),
                Outcome::Value(None) => {}
                other => return Err(Failure::Violation(format!("a read answered {other:?}"))),
            }
        }
        self.ran.operations += self.keys;
        Ok(found)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.subject.flush();
        self.note_point(&flushed);
        flushed
    }

    fn reopen(&mut self) -> Result<(), Failure> {
        let closed = self.subject.close();
        self.note_point(&closed);
        closed?;
        self.subject.open()?;
        let found = self.read_all()?;
        self.oracle.compare(&found).map_err(|message| Failure::Violation(format!("after a reopen {message}")))
    }

    fn note_point(&mut self, made: &Result<(), Failure>) {
        match made {
            Ok(()) => {
                self.ran.points += 1;
                self.oracle.point_acknowledged();
            }
            Err(_) => self.oracle.point_uncertain(),
        }
    }

    fn crash(&mut self, ending: Ending) -> Result<(), String> {
        let explain = |failure: Failure| match failure {
            Failure::Down(message) | Failure::Violation(message) => format!("after {ending:?}: {message}"),
        };
        self.ran.crashes += 1;
        self.subject.end(ending).map_err(explain)?;
        self.subject.open().map_err(explain)?;
        let found = self.read_all().map_err(explain)?;
        self.ran.crashes_with_contents += u64::from(!found.is_empty());
        self.oracle.crashed(found).map_err(|message| format!("after {ending:?}: {message}"))
    }
}
