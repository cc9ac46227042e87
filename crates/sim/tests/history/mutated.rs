//! Large histories: correct ones are accepted, and a contradiction planted anywhere is found.

use oxifaster_sim::history::{Checker, Event, Operation, Outcome, Rejection, Response, State};
use oxifaster_sim::workload::Prng;

use crate::register::{Shape, correct_history};

const UNIQUE: Shape = Shape { threads: 4, operations: 4_000, keys: 20, values: 0, adds: 0.0, lost: 0.0 };

#[test]
fn correct_histories_are_accepted() {
    for (seed, threads, lost, adds) in
        [(1, 1, 0.0, 0.0), (2, 2, 0.0, 0.3), (3, 4, 0.01, 0.0), (4, 8, 0.0, 0.3), (5, 6, 0.005, 0.5)]
    {
        for values in [0, 2, 50] {
            let shape = Shape { threads, lost, adds, values, operations: 20_000, keys: 50 };
            let events = correct_history(seed, &shape);
            let mut checker = Checker::new();
            let checked = checker
                .check(events)
                .unwrap_or_else(|rejection| panic!("seed {seed}, {shape:?}: {rejection}"));
            assert_eq!(checked.operations, 20_000);
            assert!(threads == 1 || checked.overlapping > 300, "{checked:?}");
        }
    }
}

/// A value that the key had and that was certainly replaced before `time`: another write was called after its write was
/// answered, and was answered itself before `time`. Values are unique, so it can't have come back.
fn stale_value(prng: &mut Prng, events: &[Event], key: u64, time: u64) -> Option<u64> {
    let writes: Vec<(&Event, u64)> = events
        .iter()
        .filter(|event| event.key == key && event.ended() < time)
        .filter_map(|event| match (event.operation, event.outcome()) {
            (Operation::Upsert(value), _)
            | (Operation::InsertIfAbsent(value), Some(Outcome::Inserted(true)))
            | (Operation::CompareExchange { new: value, .. }, Some(Outcome::Exchanged)) => {
                Some((event, value))
            }
            _ => None,
        })
        .collect();
    let replaced: Vec<u64> = writes
        .iter()
        .filter(|(write, _)| writes.iter().any(|(later, _)| later.called > write.ended()))
        .map(|&(_, value)| value)
        .collect();
    prng.pick(&replaced).copied()
}

/// Puts a contradiction into `events` and returns its key and the time at which it is complete.
type Mutation = fn(&mut Prng, &mut [Event]) -> Option<(u64, u64)>;

fn pick(prng: &mut Prng, events: &[Event], wanted: impl Fn(&Event) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..events.len()).filter(|&place| wanted(&events[place])).collect();
    prng.pick(&places).copied()
}

fn set_read(event: &mut Event, value: State) -> (u64, u64) {
    let at = event.ended();
    event.response = Response::Answered(at, Outcome::Value(value));
    (event.key, at)
}

fn reads_stale(prng: &mut Prng, events: &mut [Event]) -> Option<(u64, u64)> {
    let place = pick(prng, events, |event| event.operation == Operation::Read)?;
    let value = stale_value(prng, events, events[place].key, events[place].called)?;
    Some(set_read(&mut events[place], Some(value)))
}

fn reads_what_nobody_wrote(prng: &mut Prng, events: &mut [Event]) -> Option<(u64, u64)> {
    let place = pick(prng, events, |event| event.operation == Operation::Read)?;
    Some(set_read(&mut events[place], Some(u64::MAX)))
}

fn reads_the_future(prng: &mut Prng, events: &mut [Event]) -> Option<(u64, u64)> {
    let place = pick(prng, events, |event| event.operation == Operation::Read)?;
    let Event { key, .. } = events[place];
    let ended = events[place].ended();
    let later = pick(prng, events, |event| {
        event.key == key && event.called > ended && matches!(event.operation, Operation::Upsert(_))
    })?;
    let Operation::Upsert(value) = events[later].operation else { return None };
    Some(set_read(&mut events[place], Some(value)))
}

fn removes_what_was_replaced(prng: &mut Prng, events: &mut [Event]) -> Option<(u64, u64)> {
    let place = pick(prng, events, |event| event.operation == Operation::Remove)?;
    let value = stale_value(prng, events, events[place].key, events[place].called)?;
    Some(set_read(&mut events[place], Some(value)))
}

fn measure(name: &str, shape: &Shape, mutation: Mutation) {
    let (mut planted, mut found) = (0, 0);
    for seed in 0..60 {
        let mut prng = Prng::lane(7, seed);
        let mut events = correct_history(seed, shape);
        let Some((key, time)) = mutation(&mut prng, &mut events) else { continue };
        planted += 1;
        if let Err(rejection) = Checker::new().check(events) {
            let Rejection::NotLinearizable(violation) = *rejection else { panic!("{rejection}") };
            assert_eq!(violation.key, key, "{name}, seed {seed}");
            assert!(violation.window.len() < 200, "{name}, seed {seed}: {violation}");
            assert!(
                violation.unexplained.called <= time || violation.before.len() == 1,
                "{name}: {violation}"
            );
            found += 1;
        }
    }
    assert!(planted > 40, "{name}: planted only {planted}");
    assert_eq!(found, planted, "{name}: found {found} of {planted}");
}

#[test]
fn every_planted_contradiction_is_found() {
    measure("reads_stale", &UNIQUE, reads_stale);
    measure("reads_what_nobody_wrote", &UNIQUE, reads_what_nobody_wrote);
    measure("reads_the_future", &UNIQUE, reads_the_future);
    measure("removes_what_was_replaced", &UNIQUE, removes_what_was_replaced);
}

/// A history of additions only: every sum comes after exactly one other, so one wrong sum breaks the chain.
#[test]
fn every_lost_addition_is_found() {
    let sums = Shape { adds: 1.0, ..UNIQUE };
    measure("loses_an_addition", &sums, |prng, events| {
        let place =
            pick(prng, events, |event| matches!(event.outcome(), Some(Outcome::Sum(sum)) if sum > 1000))?;
        let Some(Outcome::Sum(sum)) = events[place].outcome() else { return None };
        let at = events[place].ended();
        events[place].response = Response::Answered(at, Outcome::Sum(sum - 1 - prng.below(1000)));
        Some((events[place].key, at))
    });
}
