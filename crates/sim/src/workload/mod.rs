//! Workloads: which key next, and values that show what happened to them.
//!
//! Callers: judges and benchmarks. Everything follows from a seed.
//!
//! | part | what it is |
//! |---|---|
//! | [`prng`] | the random generator |
//! | [`zipfian`] | skewed ranks |
//! | [`keys`] | uniform, zipfian, scrambled, latest, hot set, private |
//! | [`shape`] | key and value types of the three value classes; torn values and lost updates show in them |

pub mod keys;
pub mod prng;
pub mod shape;
pub mod zipfian;

pub use keys::{Distribution, Keys};
pub use prng::{Prng, mix};
pub use shape::{Bulky, Fixed, LANES_MAX, Shape, Varlen, Words};
pub use zipfian::{YCSB_THETA, Zipfian};
