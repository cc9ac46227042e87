//! Workloads: which operation next, and on which key. Everything follows from a seed.
//!
//! Layer 0: depends on nothing. Callers: `oxifaster ycsb`, the judges, the comparison with other engines: so all of them draw
//! the same keys.
//!
//! | part | what it is |
//! |---|---|
//! | [`prng`] | the random generator |
//! | [`zipfian`] | skewed ranks |
//! | [`keys`] | uniform, zipfian, scrambled, latest, hot set, private |
//! | [`ycsb`] | YCSB's mixes of operations |
#![forbid(unsafe_code)]

pub mod keys;
pub mod prng;
pub mod ycsb;
pub mod zipfian;

pub use keys::{Distribution, Keys};
pub use prng::{Prng, mix};
pub use ycsb::{Operation, Workload};
pub use zipfian::{YCSB_THETA, Zipfian};
