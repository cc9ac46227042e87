//! The model checker passes a correct store and finds every bug of a list in a store that has it.

mod sketch;

use oxifaster_sim::model::{Broken, Plan, Ran, minimize, run};
use sketch::{Bug, Sketch};

const RUNS: u64 = 300;

fn run_on(plan: &Plan, bug: Option<Bug>) -> Result<Ran, Broken> {
    run(plan, &mut Sketch::new(bug))
}

#[test]
fn a_correct_store_passes() {
    let mut sum = Ran::default();
    for seed in 0..RUNS {
        let plan = Plan::draw(seed, 400, true);
        sum += run_on(&plan, None).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
    assert!(sum.crashes_with_contents > 200 && sum.faults_seen > 30 && sum.points > 1000, "{sum:?}");
}

#[test]
fn every_bug_is_found_and_shown_in_few_steps() {
    for &bug in Bug::ALL {
        let failing: Vec<Plan> = (0..RUNS)
            .map(|seed| Plan::draw(seed, 400, true))
            .filter(|plan| run_on(plan, Some(bug)).is_err())
            .collect();
        assert!(failing.len() as u64 > RUNS / 50, "{bug:?} was found by {} of {RUNS} runs", failing.len());
        let shortest = failing
            .iter()
            .take(5)
            .map(|plan| minimize(plan, 3000, |plan| run_on(plan, Some(bug)).is_err()).steps.len())
            .min();
        assert!(shortest <= Some(6), "{bug:?}: {shortest:?} steps");
    }
}
