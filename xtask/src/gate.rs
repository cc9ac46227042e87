//! The gate: the steps that CI runs, in order. Adding a step is adding a line.
//!
//! Order: what is cheap and often wrong comes first, the tests last but for what needs another build. One profile
//! (`test`) serves tests, examples and judges, so that nothing is compiled twice for its sake.

use crate::step::Step;
use crate::{check, instructions, judges, models};

/// What to run before every commit.
pub(crate) const CHECK: &[Step] =
    &[Step::new("fmt", check::fmt), Step::new("clippy", check::clippy), Step::new("doc", check::doc)];

/// Everything CI does.
pub(crate) const VERIFY: &[Step] = &[
    Step::new("fmt", check::fmt),
    Step::new("tidy", check::tidy),
    Step::new("clippy", check::clippy),
    Step::new("doc", check::doc),
    Step::new("test", check::test),
    Step::new("xtask", check::own_tests),
    Step::new("examples", check::examples),
    Step::new("judges", judges::judges),
    Step::new("instructions", instructions::instructions),
    Step::new("loom", models::loom),
    Step::new("canaries", judges::canaries),
];
