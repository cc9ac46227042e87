//! Histories of known bugs, and of things that look wrong and are not.

use oxifaster_sim::history::{
    Checker, Event, NEVER, Operation, Outcome, Rejection, Response, State, Violation,
};

fn event(called: u64, answered: u64, operation: Operation, outcome: Outcome) -> Event {
    Event {
        key: 0,
        thread: called as u32,
        called,
        operation,
        response: Response::Answered(answered, outcome),
    }
}

fn lost(called: u64, at: u64, operation: Operation) -> Event {
    Event { key: 0, thread: called as u32, called, operation, response: Response::Lost(at) }
}

fn upsert(called: u64, answered: u64, value: u64) -> Event {
    event(called, answered, Operation::Upsert(value), Outcome::Done)
}

fn delete(called: u64, answered: u64) -> Event {
    event(called, answered, Operation::Delete, Outcome::Done)
}

fn read(called: u64, answered: u64, value: State) -> Event {
    event(called, answered, Operation::Read, Outcome::Value(value))
}

fn add(called: u64, answered: u64, sum: u64) -> Event {
    event(called, answered, Operation::Add(1), Outcome::Sum(sum))
}

fn accept(events: &[Event]) {
    if let Err(rejection) = Checker::new().check(events.to_vec()) {
        panic!("wrongly rejected: {rejection}");
    }
}

fn reject(events: &[Event]) -> Violation {
    match Checker::new().check(events.to_vec()).map_err(|rejection| *rejection) {
        Err(Rejection::NotLinearizable(violation)) => violation,
        other => panic!("not rejected: {other:?}"),
    }
}

#[test]
fn a_stale_read_is_found_and_shown_without_what_does_not_matter() {
    let before = [upsert(1, 2, 10), read(3, 4, Some(10)), upsert(5, 6, 11), read(7, 8, Some(11))];
    let window = [upsert(9, 12, 12), read(10, 11, Some(12)), read(13, 14, Some(11)), upsert(15, 16, 13)];
    let violation = reject(&[before.as_slice(), window.as_slice()].concat());
    assert_eq!(violation.unexplained, read(13, 14, Some(11)));
    assert_eq!(violation.before, [Some(12)]);
    assert_eq!(violation.window, [read(13, 14, Some(11))]);
    assert_eq!(violation.was_written, Some(true));

    // The same while something else is running.
    let violation = reject(&[
        upsert(1, 2, 10),
        upsert(3, 20, 11),
        read(4, 5, Some(11)),
        read(6, 7, Some(10)),
        read(8, 9, Some(11)),
    ]);
    assert_eq!(violation.before, [Some(10)]);
    assert_eq!(violation.window, [upsert(3, 20, 11), read(4, 5, Some(11)), read(6, 7, Some(10))]);
}

#[test]
fn a_lost_update_is_found() {
    accept(&[add(1, 5, 1), add(2, 6, 2), read(7, 8, Some(2))]);
    reject(&[add(1, 5, 1), add(2, 6, 1)]);
    reject(&[add(1, 5, 1), add(2, 6, 2), read(7, 8, Some(1))]);
    let blind = |called, answered| event(called, answered, Operation::Add(1), Outcome::Done);
    accept(&[blind(1, 5), blind(2, 6), read(7, 8, Some(2))]);
    reject(&[blind(1, 5), blind(2, 6), read(7, 8, Some(1))]);
}

#[test]
fn a_value_that_nobody_wrote_is_found_and_said() {
    let violation = reject(&[upsert(1, 4, 0x1111), upsert(2, 5, 0x2222), read(3, 6, Some(0x1122))]);
    assert_eq!(violation.was_written, Some(false));
    assert!(violation.to_string().contains("never written"), "{violation}");
}

#[test]
fn a_deleted_value_that_comes_back_is_found() {
    reject(&[upsert(1, 2, 7), delete(3, 4), read(5, 6, Some(7))]);
    accept(&[upsert(1, 2, 7), delete(3, 6), read(4, 5, Some(7)), read(7, 8, None)]);
    reject(&[upsert(1, 2, 7), delete(3, 8), read(4, 5, None), read(6, 7, Some(7))]);
}

#[test]
fn two_readers_agree_on_the_order_of_two_writers() {
    let writers = [upsert(1, 20, 1), upsert(2, 21, 2)];
    let agree = [read(3, 4, Some(1)), read(5, 6, Some(2)), read(7, 22, Some(2))];
    accept(&[writers.as_slice(), agree.as_slice()].concat());
    let disagree = [read(3, 4, Some(1)), read(5, 6, Some(2)), read(7, 8, Some(1))];
    reject(&[writers.as_slice(), disagree.as_slice()].concat());
}

#[test]
fn only_one_of_two_inserts_or_exchanges_wins() {
    let insert = |called, answered, value, inserted| {
        event(called, answered, Operation::InsertIfAbsent(value), Outcome::Inserted(inserted))
    };
    accept(&[insert(1, 5, 1, true), insert(2, 6, 2, false), read(7, 8, Some(1))]);
    reject(&[insert(1, 5, 1, true), insert(2, 6, 2, true)]);
    reject(&[insert(1, 5, 1, false)]);
    let exchange = |called, answered, new, outcome| {
        event(called, answered, Operation::CompareExchange { expected: 9, new }, outcome)
    };
    let start = [upsert(1, 2, 9), exchange(3, 8, 1, Outcome::Exchanged)];
    accept(&[start.as_slice(), &[exchange(4, 7, 2, Outcome::Differs(Some(1)))]].concat());
    reject(&[start.as_slice(), &[exchange(4, 7, 2, Outcome::Exchanged)]].concat());
    reject(&[start.as_slice(), &[exchange(4, 7, 2, Outcome::Differs(None))]].concat());
    let take = |called, answered| event(called, answered, Operation::Remove, Outcome::Value(Some(9)));
    accept(&[upsert(1, 2, 9), take(3, 6)]);
    reject(&[upsert(1, 2, 9), take(3, 6), take(4, 7)]);
}

#[test]
fn what_was_not_answered_may_have_happened_until_it_is_over() {
    let start = [upsert(1, 2, 1), lost(3, 10, Operation::Upsert(2))];
    for value in [1, 2] {
        accept(&[start.as_slice(), &[read(4, 5, Some(value)), read(11, 12, Some(2))]].concat());
    }
    accept(&[start.as_slice(), &[read(11, 12, Some(1))]].concat());
    // Once it was seen it stays, and after its end it can't begin any more.
    reject(&[start.as_slice(), &[read(4, 5, Some(2)), read(6, 7, Some(1))]].concat());
    reject(&[start.as_slice(), &[read(11, 12, Some(1)), read(13, 14, Some(2))]].concat());
    let for_ever =
        [upsert(1, 2, 1), lost(3, NEVER, Operation::Upsert(2)), read(11, 12, Some(1)), read(13, 14, Some(2))];
    accept(&for_ever);
    reject(&[for_ever.as_slice(), &[read(15, 16, Some(1))]].concat());
    // It takes effect once.
    let deleted = [for_ever.as_slice(), &[delete(15, 16), read(17, 18, Some(2))]].concat();
    reject(&deleted);
}

#[test]
fn values_are_carried_from_round_to_round() {
    let mut checker = Checker::new();
    checker.check(vec![upsert(1, 5, 1), upsert(2, 6, 2)]).expect("linearizable");
    assert_eq!(checker.states(0), [Some(1), Some(2)]);
    checker.check(vec![read(7, 8, Some(2))]).expect("linearizable");
    assert_eq!(checker.states(0), [Some(2)]);
    assert!(checker.check(vec![read(9, 10, Some(1))]).is_err());
}

#[test]
fn keys_are_judged_one_by_one() {
    let other_key = Event { key: 1, ..read(3, 4, Some(1)) };
    accept(&[upsert(1, 2, 1), read(3, 4, Some(1))]);
    let violation = reject(&[upsert(1, 2, 1), other_key]);
    assert_eq!(violation.key, 1);
}

#[test]
fn a_judge_that_records_nonsense_is_told() {
    for nonsense in [read(2, 1, None), event(1, 2, Operation::Read, Outcome::Done)] {
        let rejection = Checker::new().check(vec![nonsense]).expect_err("malformed");
        assert_eq!(*rejection, Rejection::Malformed(nonsense));
    }
}

#[test]
fn it_gives_up_loudly() {
    let events: Vec<Event> = (0..200).map(|n| upsert(n, 1000 + n, n)).collect();
    let rejection = Checker::new().check(events).expect_err("too many");
    assert!(matches!(*rejection, Rejection::Undecided { .. }), "{rejection}");
    let events: Vec<Event> = (0..40).map(|n| upsert(n, 1000 + n, n)).collect();
    let rejection = Checker::new().check(events).expect_err("too many");
    assert!(matches!(*rejection, Rejection::Undecided { .. }), "{rejection}");
}
