#![forbid(unsafe_code)]
//! oxifaster: an embeddable concurrent key-value store for point operations on state larger than memory.

pub use oxifaster_core as core;
