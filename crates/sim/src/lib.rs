//! Judges: what decides whether oxifaster keeps its promises. For tests only; nothing that ships uses it.
#![forbid(unsafe_code)]

pub mod history;
pub mod judges;
pub mod log;
pub mod model;
pub mod workload;
