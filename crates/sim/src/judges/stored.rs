//! Operations of numbers on a real store: makes keys and values of a shape, and checks every byte on the way back.

use std::fmt;

use oxifaster_core::codec::{PersistKey, PersistValue};
use oxifaster_core::error::Error;
use oxifaster_device::StorageDevice;
use oxifaster_device::sync::thread;
use oxifaster_store::{RmwOutcome, Session};

use crate::history::{Operation, Outcome, State};
use crate::workload::{Bulky, Fixed, Shape, Varlen, Words, mix};

/// A session of a shape.
pub type SessionOf<S, D> = Session<<S as Shape>::Key, <S as Shape>::Value, D>;

/// A shape that the store can hold.
pub trait Stored: Shape<Key: PersistKey, Value: PersistValue> {
    /// The store's `fetch_add`, where the value has one; returns the value before.
    fn fetch_add<D: StorageDevice>(
        _session: &mut SessionOf<Self, D>,
        _key: &Self::Key,
        _delta: u64,
    ) -> Option<Result<u64, Error>> {
        None
    }
}

impl Stored for Words {
    fn fetch_add<D: StorageDevice>(
        session: &mut SessionOf<Self, D>,
        key: &u64,
        delta: u64,
    ) -> Option<Result<u64, Error>> {
        Some(session.fetch_add(key, delta))
    }
}

impl Stored for Fixed {}

impl Stored for Varlen {}

impl Stored for Bulky {}

/// Why an operation has no outcome.
#[derive(Debug)]
pub enum CallError {
    /// The store returned an error.
    Store(Error),
    /// The store showed something that no operation wrote, or contradicts itself.
    Wrong(String),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        CallError::Store(error)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Store(error) => write!(f, "{error} ({:?})", error.kind()),
            CallError::Wrong(message) => f.write_str(message),
        }
    }
}

/// The state that a value shows.
///
/// # Errors
/// `Wrong`, when nobody wrote these bytes.
pub fn state_of<S: Shape>(key: u64, value: Option<&S::Value>) -> Result<State, CallError> {
    let number = value.map(S::number).transpose();
    number.map_err(|message| CallError::Wrong(format!("key {key}: a value that nobody wrote: {message}")))
}

/// Runs an operation. Even numbers are added by `fetch_add` where there is one.
///
/// # Errors
/// The store's, and what it shows that nobody wrote.
pub fn call<S: Stored, D: StorageDevice>(
    session: &mut SessionOf<S, D>,
    number: u64,
    operation: Operation,
) -> Result<Outcome, CallError> {
    let key = S::key(number);
    let state = |value: Option<S::Value>| state_of::<S>(number, value.as_ref());
    Ok(match operation {
        Operation::Read => Outcome::Value(state(session.read(&key)?)?),
        Operation::Remove => Outcome::Value(state(session.remove(&key)?)?),
        Operation::Delete => session.delete(&key).map(|()| Outcome::Done)?,
        Operation::Upsert(new) => session.upsert(&key, S::value(new)).map(|()| Outcome::Done)?,
        Operation::InsertIfAbsent(new) => Outcome::Inserted(session.insert_if_absent(&key, S::value(new))?),
        Operation::CompareExchange { expected, new } => {
            match session.compare_exchange(&key, S::value(expected), S::value(new))? {
                Ok(()) => Outcome::Exchanged,
                Err(found) => Outcome::Differs(state(found)?),
            }
        }
        Operation::Decline => decline::<S, D>(session, number)?,
        Operation::Add(delta) if delta.is_multiple_of(2) => match S::fetch_add(session, &key, delta) {
            Some(before) => Outcome::Sum(before?.wrapping_add(delta)),
            None => add::<S, D>(session, number, delta)?,
        },
        Operation::Add(delta) => add::<S, D>(session, number, delta)?,
    })
}

/// Runs operations of one kind as one batch. Kinds that have none are run one after the other.
///
/// # Errors
/// The store's, and what it shows that nobody wrote.
pub fn call_batch<S: Stored, D: StorageDevice>(
    session: &mut SessionOf<S, D>,
    items: &[(u64, Operation)],
) -> Result<Vec<Outcome>, CallError> {
    let keys = || items.iter().map(|&(number, _)| S::key(number)).collect::<Vec<_>>();
    let pairs = || items.iter().map(|&(number, operation)| (S::key(number), S::value(operation.number())));
    Ok(match items.first().map(|&(_, operation)| operation) {
        Some(Operation::Read) => {
            let values = session.read_batch(&keys())?;
            let states = items.iter().zip(&values).map(|(item, value)| state_of::<S>(item.0, value.as_ref()));
            states.map(|state| state.map(Outcome::Value)).collect::<Result<_, _>>()?
        }
        Some(Operation::Upsert(_)) => {
            session.upsert_batch(&pairs().collect::<Vec<_>>())?;
            vec![Outcome::Done; items.len()]
        }
        Some(Operation::Delete) => {
            session.delete_batch(&keys())?;
            vec![Outcome::Done; items.len()]
        }
        Some(Operation::InsertIfAbsent(_)) => {
            let inserted = session.insert_if_absent_batch(&pairs().collect::<Vec<_>>())?;
            inserted.into_iter().map(Outcome::Inserted).collect()
        }
        Some(Operation::Add(_)) => add_batch::<S, D>(session, items, &keys())?,
        _ => items
            .iter()
            .map(|&(number, operation)| call::<S, D>(session, number, operation))
            .collect::<Result<_, _>>()?,
    })
}

fn add_batch<S: Stored, D: StorageDevice>(
    session: &mut SessionOf<S, D>,
    items: &[(u64, Operation)],
    keys: &[S::Key],
) -> Result<Vec<Outcome>, CallError> {
    let mut sums = vec![Ok(0); items.len()];
    let outcomes = session.rmw_batch(keys, |place, value| {
        let (Some(sum), Some((_, operation))) = (sums.get_mut(place), items.get(place)) else { return false };
        *sum = S::number(value).map(|before| before.wrapping_add(operation.number()));
        if let Ok(sum) = sum {
            *value = S::value(*sum);
        }
        sum.is_ok()
    })?;
    let each = sums.into_iter().zip(outcomes).zip(items);
    each.map(|((sum, outcome), (number, _))| added(*number, sum, outcome)).collect()
}

/// Every so many additions the closure lets other threads run: between the store's reading and its writing, where updates
/// get lost.
const YIELD_EVERY: u64 = 64;

/// An `rmw` that adds. Its closure may run more than once; the run that takes effect is the last one.
fn add<S: Stored, D: StorageDevice>(
    session: &mut SessionOf<S, D>,
    number: u64,
    delta: u64,
) -> Result<Outcome, CallError> {
    let mut seen = Ok(0);
    let outcome = session.rmw(S::key(number), |value| {
        seen = S::number(value).map(|before| before.wrapping_add(delta));
        if let Ok(sum) = seen {
            *value = S::value(sum);
        }
        if mix(delta).is_multiple_of(YIELD_EVERY) {
            thread::yield_now();
        }
        seen.is_ok()
    })?;
    added(number, seen, outcome)
}

/// The outcome of an addition whose closure saw to `sum`.
fn added(number: u64, sum: Result<u64, String>, outcome: RmwOutcome) -> Result<Outcome, CallError> {
    let sum = sum.map_err(|message| CallError::Wrong(format!("key {number}, in an rmw: {message}")))?;
    match outcome {
        RmwOutcome::Created => Ok(Outcome::Added { sum, created: true }),
        RmwOutcome::Updated => Ok(Outcome::Added { sum, created: false }),
        RmwOutcome::Unchanged => {
            Err(CallError::Wrong(format!("key {number}: an rmw that changed its value is told as unchanged")))
        }
    }
}

/// An `rmw` that spoils its private copy and then declines.
fn decline<S: Stored, D: StorageDevice>(
    session: &mut SessionOf<S, D>,
    number: u64,
) -> Result<Outcome, CallError> {
    let outcome = session.rmw(S::key(number), |value| {
        *value = S::value(mix(number));
        false
    })?;
    match outcome {
        RmwOutcome::Unchanged => Ok(Outcome::Done),
        other => Err(CallError::Wrong(format!("key {number}: an rmw that declined is told as {other:?}"))),
    }
}
