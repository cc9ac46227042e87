//! Against the plainest judge there is: try all orders. Small histories, answers right and wrong, values that repeat.

use oxifaster_sim::history::{Checker, Event, Operation, Outcome, Rejection, Response, State};
use oxifaster_sim::workload::Prng;

use crate::register::{Shape, correct_history};

/// Whether some order explains `left`, starting from `state`; collects the values that it may end with.
fn try_all_orders(left: &[Event], state: State, ends: &mut Vec<State>) {
    if left.is_empty() {
        ends.push(state);
        return;
    }
    for (place, event) in left.iter().enumerate() {
        let mut others = left.to_vec();
        others.remove(place);
        // What was never answered may also never take effect.
        if matches!(event.response, Response::Lost(_)) {
            try_all_orders(&others, state, ends);
        }
        // What ended before this was called comes first.
        if others.iter().any(|other| other.ended() < event.called) {
            continue;
        }
        if let Some(after) = event.operation.apply(state, event.outcome()) {
            try_all_orders(&others, after, ends);
        }
    }
}

fn judge_both(seed: u64, events: &[Event], initial: State) -> bool {
    let mut ends = Vec::new();
    try_all_orders(events, initial, &mut ends);
    ends.sort_unstable();
    ends.dedup();
    let mut checker = Checker::new();
    checker.set_states(0, vec![initial]);
    match checker.check(events.to_vec()) {
        Ok(_) => assert_eq!(checker.states(0), ends, "seed {seed}: wrong values at the end of {events:#?}"),
        Err(rejection) => {
            assert!(ends.is_empty(), "seed {seed}: wrongly rejected: {rejection}\n{events:#?}");
            // What it prints is a proof on its own: what was answered by then can't be explained from these values.
            let Rejection::NotLinearizable(violation) = *rejection else {
                panic!("seed {seed}: {rejection}")
            };
            let time = violation.unexplained.ended();
            let until: Vec<Event> =
                violation.window.iter().map(|&event| forget_answers_after(event, time)).collect();
            for &before in &violation.before {
                let mut ends = Vec::new();
                try_all_orders_or_later(&until, before, &mut ends);
                assert!(ends.is_empty(), "seed {seed}: proves nothing: {violation}\n{events:#?}");
            }
        }
    }
    ends.is_empty()
}

/// Keeps what the answer says but not that it had to be given by the end of the window.
fn forget_answers_after(mut event: Event, time: u64) -> Event {
    if let Response::Answered(at, outcome) = event.response
        && at > time
    {
        event.response = Response::Answered(u64::MAX, outcome);
    }
    event
}

/// As [`try_all_orders`], but what ends at `u64::MAX` need not have taken effect.
fn try_all_orders_or_later(left: &[Event], state: State, ends: &mut Vec<State>) {
    if left.iter().all(|event| event.ended() == u64::MAX) {
        ends.push(state);
        return;
    }
    for (place, event) in left.iter().enumerate() {
        let mut others = left.to_vec();
        others.remove(place);
        if matches!(event.response, Response::Lost(_)) {
            try_all_orders_or_later(&others, state, ends);
        }
        if others.iter().any(|other| other.ended() < event.called) {
            continue;
        }
        if let Some(after) = event.operation.apply(state, event.outcome()) {
            try_all_orders_or_later(&others, after, ends);
        }
    }
}

/// Replaces the answer of one operation by another one that the operation could give.
fn change_an_answer(prng: &mut Prng, events: &mut [Event], values: u64) {
    let place = prng.below(events.len() as u64) as usize;
    let Response::Answered(at, _) = events[place].response else { return };
    let state = prng.chance(0.7).then(|| prng.below(values));
    let outcome = match events[place].operation {
        Operation::Upsert(_) | Operation::Delete | Operation::Decline => Outcome::Done,
        Operation::Read | Operation::Remove => Outcome::Value(state),
        Operation::InsertIfAbsent(_) => Outcome::Inserted(prng.chance(0.5)),
        Operation::CompareExchange { .. } if prng.chance(0.5) => Outcome::Exchanged,
        Operation::CompareExchange { .. } => Outcome::Differs(state),
        Operation::Add(_) if prng.chance(0.5) => Outcome::Sum(prng.below(3000)),
        Operation::Add(_) if prng.chance(0.3) => Outcome::Inserted(prng.chance(0.5)),
        Operation::Add(_) if prng.chance(0.5) => {
            Outcome::Added { sum: prng.below(3000), created: prng.chance(0.5) }
        }
        Operation::Add(_) => Outcome::Done,
    };
    events[place].response = Response::Answered(at, outcome);
}

#[test]
fn it_says_what_trying_all_orders_says() {
    let (mut rejected, cases) = (0, 30_000);
    for seed in 0..cases {
        let mut prng = Prng::lane(1, seed);
        let shape = Shape {
            threads: 1 + prng.below(4) as u32,
            operations: 1 + prng.below(6) as usize,
            keys: 1,
            values: 1 + prng.below(4),
            adds: if prng.chance(0.3) { 0.5 } else { 0.0 },
            lost: if prng.chance(0.4) { 0.3 } else { 0.0 },
        };
        let mut events = correct_history(prng.next_u64(), &shape);
        assert!(!judge_both(seed, &events, None), "seed {seed}: a correct history has no order: {events:#?}");
        for _ in 0..=prng.below(3) {
            change_an_answer(&mut prng, &mut events, shape.values);
        }
        let initial = prng.chance(0.3).then(|| prng.below(shape.values));
        rejected += u64::from(judge_both(seed, &events, initial));
    }
    // Both verdicts must have been put to the test.
    assert!(rejected > cases / 5 && rejected < cases * 4 / 5, "{rejected} of {cases} rejected");
}
