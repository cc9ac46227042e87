//! Delta debugging: leaves steps out of a failing plan as long as it still fails.

use super::plan::{Plan, Step};

/// The shortest plan found in at most `runs_max` runs. `fails` runs a plan on a fresh subject.
///
/// Halves are tried first, then smaller and smaller chunks, until no single step can be left out. Where threads are involved a
/// failing plan may pass at times; then the result is longer than need be, and still one that has failed.
pub fn minimize(plan: &Plan, runs_max: usize, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut shortest = plan.clone();
    let mut runs = 0;
    let mut chunk = shortest.steps.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        let mut left_out = false;
        while start < shortest.steps.len() {
            if runs >= runs_max {
                return shortest;
            }
            runs += 1;
            let end = (start + chunk).min(shortest.steps.len());
            let mut steps: Vec<Step> = shortest.steps.clone();
            steps.drain(start..end);
            let shorter = Plan { steps, ..shortest };
            if fails(&shorter) {
                shortest = shorter;
                left_out = true;
            } else {
                start = end;
            }
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        } else if !left_out {
            return shortest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_kept_and_nothing_else() {
        let plan = Plan::draw(3, 2000, true);
        let needed = [plan.steps[7], plan.steps[plan.steps.len() / 2], plan.steps[plan.steps.len() - 3]];
        let contains = |plan: &Plan| {
            let mut wanted = needed.iter().peekable();
            plan.steps.iter().for_each(|step| _ = wanted.next_if_eq(&step));
            wanted.peek().is_none()
        };
        assert!(plan.steps.len() > 100 && contains(&plan));
        assert_eq!(minimize(&plan, 10_000, contains).steps, needed);
        let mut runs = 0;
        let given_up = minimize(&plan, 5, |plan| {
            runs += 1;
            contains(plan)
        });
        assert!(runs == 5 && contains(&given_up));
    }
}
