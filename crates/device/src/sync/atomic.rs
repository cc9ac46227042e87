//! Atomics and fences: std's, or loom's under `--cfg loom`.

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};
#[cfg(not(loom))]
mod standard {
    pub use std::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, compiler_fence, fence,
    };
}
#[cfg(not(loom))]
pub use standard::*;
pub use std::sync::atomic::Ordering;

/// loom has no compiler fence: its models treat the asymmetric fence as a full one, and prove the other form as it is.
#[cfg(loom)]
pub fn compiler_fence(_order: Ordering) {}
