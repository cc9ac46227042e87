//! The operating system: memory mapping, the asymmetric fence, what a file system can do.
//!
//! The only place with platform-specific code. Each function has a portable fall-back that is right and slower.

#[cfg(not(loom))]
pub(crate) mod file;
mod mapping;
mod membarrier;
#[cfg(all(not(unix), not(loom)))]
mod transfer_by_copy;
#[cfg(all(unix, not(loom)))]
mod transfer_in_place;

#[cfg(not(loom))]
pub(crate) use mapping::Mapping;
pub use membarrier::{asymmetric_fence_available, heavy_fence};
