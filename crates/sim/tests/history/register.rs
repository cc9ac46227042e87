//! A correct register under a random scheduler: each operation is called, takes effect and is answered at three different
//! moments, between which other threads move.

use oxifaster_sim::history::{Event, NEVER, Operation, Outcome, Response, State};
use oxifaster_sim::workload::Prng;

/// What histories look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) threads: u32,
    pub(crate) operations: usize,
    pub(crate) keys: u64,
    /// Values are below this; 0 makes every value unique.
    pub(crate) values: u64,
    /// Part of the operations that add; sums and unique values exclude each other on one key.
    pub(crate) adds: f64,
    /// Part of the operations that are never answered.
    pub(crate) lost: f64,
}

struct Running {
    event: Event,
    outcome: Option<Outcome>,
}

/// What `operation` answers on `state`.
pub(crate) fn answer(operation: Operation, state: State) -> Outcome {
    match operation {
        Operation::Read | Operation::Remove => Outcome::Value(state),
        Operation::Upsert(_) | Operation::Delete | Operation::Decline => Outcome::Done,
        Operation::InsertIfAbsent(_) => Outcome::Inserted(state.is_none()),
        Operation::CompareExchange { expected, .. } if state == Some(expected) => Outcome::Exchanged,
        Operation::CompareExchange { .. } => Outcome::Differs(state),
        Operation::Add(delta) => Outcome::Sum(state.unwrap_or(0).wrapping_add(delta)),
    }
}

pub(crate) fn random_operation(prng: &mut Prng, shape: &Shape, fresh: &mut u64, state: State) -> Operation {
    let mut value = |prng: &mut Prng| {
        *fresh += 1;
        if shape.values == 0 { *fresh } else { prng.below(shape.values) }
    };
    if prng.chance(shape.adds) {
        return Operation::Add(1 + prng.below(1000));
    }
    match prng.below(9) {
        0..=2 => Operation::Read,
        8 => Operation::Decline,
        3 => Operation::Upsert(value(prng)),
        4 => Operation::Delete,
        5 => Operation::Remove,
        6 => Operation::InsertIfAbsent(value(prng)),
        _ => {
            let guess = state.filter(|_| prng.chance(0.7)).unwrap_or_else(|| value(prng));
            Operation::CompareExchange { expected: guess, new: value(prng) }
        }
    }
}

/// A history that a correct store could have given. All keys are absent at its start.
pub(crate) fn correct_history(seed: u64, shape: &Shape) -> Vec<Event> {
    let mut prng = Prng::new(seed);
    let mut states: Vec<State> = vec![None; shape.keys as usize];
    let mut running: Vec<Option<Running>> = (0..shape.threads).map(|_| None).collect();
    let (mut events, mut time, mut fresh) = (Vec::new(), 0, 0);
    while events.len() < shape.operations || running.iter().any(Option::is_some) {
        time += 1;
        let thread = prng.below(u64::from(shape.threads)) as usize;
        let Some(Running { event, outcome }) = running[thread].as_mut() else {
            if events.len() + running.iter().flatten().count() < shape.operations {
                let key = prng.below(shape.keys);
                let operation = random_operation(&mut prng, shape, &mut fresh, states[key as usize]);
                let response = Response::Lost(NEVER);
                let event = Event { key, thread: thread as u32, called: time, operation, response };
                running[thread] = Some(Running { event, outcome: None });
            }
            continue;
        };
        let state = &mut states[event.key as usize];
        match *outcome {
            // Never answered and without effect, from now on or for all that is known.
            None if prng.chance(shape.lost / 2.0) => {
                event.response = Response::Lost(if prng.chance(0.5) { time } else { NEVER });
            }
            None => {
                let answer = answer(event.operation, *state);
                *state = event.operation.apply(*state, Some(answer)).expect("the answer fits");
                *outcome = Some(answer);
                continue;
            }
            // It took effect, but nobody was told.
            Some(_) if prng.chance(shape.lost / 2.0) => {
                event.response = Response::Lost(if prng.chance(0.5) { time } else { NEVER });
            }
            Some(outcome) => event.response = Response::Answered(time, outcome),
        }
        events.extend(running[thread].take().map(|done| done.event));
    }
    events
}
