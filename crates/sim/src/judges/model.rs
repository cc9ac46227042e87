//! The model judge: random plans on the real store, in all shapes; a plan that fails is shortened and shown.

use super::report::{Progress, Report};
use super::stored::Stored;
use super::subject::StoreSubject;
use crate::model::{Broken, Failure, Plan, Ran, minimize, run};
use crate::workload::{Fixed, Varlen, Words, mix};

/// How much to judge.
#[derive(Clone, Copy, Debug)]
pub struct ModelOptions {
    /// What everything is drawn from.
    pub seed: u64,
    /// Plans for each shape.
    pub runs: u64,
    /// Steps of a plan at most.
    pub steps_max: u64,
    /// Whether processes are killed, power is lost and requests fail.
    pub faults: bool,
    /// Runs spent on shortening a plan that fails.
    pub minimizing_runs: usize,
}

/// So many runs must meet everything that plans can hold.
const ENOUGH_RUNS: u64 = 100;

/// Runs one plan of a shape on a fresh store.
///
/// # Errors
/// The broken promise.
pub fn run_plan<S: Stored>(plan: &Plan) -> Result<Ran, Broken> {
    let mut subject = StoreSubject::<S>::create(plan.seed).map_err(|failure| {
        let (Failure::Down(message) | Failure::Violation(message)) = failure;
        Broken { step: 0, message: format!("create: {message}") }
    })?;
    run(plan, &mut subject)
}

fn judge_shape<S: Stored>(options: &ModelOptions, report: &mut Report, progress: Progress<'_>) -> Ran {
    let mut sum = Ran::default();
    for number in 0..options.runs {
        // The first plan is that of the seed itself, so that a printed seed replays with one run.
        let seed = if number == 0 { options.seed } else { mix(options.seed).wrapping_add(number) };
        let plan = Plan::draw(seed, options.steps_max, options.faults);
        match run_plan::<S>(&plan) {
            Ok(ran) => sum += ran,
            Err(broken) => {
                progress(&format!("{}: seed {seed}: {broken}; shortening the plan", S::NAME));
                let fails = |plan: &Plan| run_plan::<S>(plan).is_err();
                let shortest = minimize(&plan, options.minimizing_runs, fails);
                let message = run_plan::<S>(&shortest).err().unwrap_or(broken).message;
                report.note("replay_seed", seed);
                report.blame(format!("{}: {message}\n{shortest}", S::NAME));
                return sum;
            }
        }
        if number % 100 == 99 {
            progress(&format!(
                "{}: {} of {} plans, {} operations",
                S::NAME,
                number + 1,
                options.runs,
                sum.operations
            ));
        }
    }
    sum
}

/// Runs the judge.
pub fn judge(options: &ModelOptions, progress: Progress<'_>) -> Report {
    let mut report = Report::new("model", options.seed);
    let mut sum = Ran::default();
    for shape in [judge_shape::<Words>, judge_shape::<Fixed>, judge_shape::<Varlen>] {
        if report.guilty().is_none() {
            sum += shape(options, &mut report, progress);
        }
    }
    report.note("plans", options.runs * 3);
    report.note("operations", sum.operations);
    report.note("points", sum.points);
    report.note("crashes", sum.crashes);
    report.note("crashes_with_contents", sum.crashes_with_contents);
    report.note("faults_seen", sum.faults_seen);
    if report.guilty().is_none() && options.faults && options.runs >= ENOUGH_RUNS {
        report.require(&["points", "crashes", "crashes_with_contents", "faults_seen"]);
    }
    report
}
