//! Workloads of the judges: which key next, and values that show what happened to them.
//!
//! Keys and randomness come from the `oxifaster-workload` crate, which `oxifaster ycsb` draws from too. Here is what only
//! judges need:
//!
//! | part | what it is |
//! |---|---|
//! | [`shape`] | key and value types of the three value classes; torn values and lost updates show in them |

pub mod shape;

pub use oxifaster_workload::{Distribution, Keys, Prng, YCSB_THETA, Zipfian, mix};
pub use shape::{Bulky, Fixed, LANES_MAX, Shape, Varlen, Words};
