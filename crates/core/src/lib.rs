//! The latch-free heart: addresses, records, codecs, hashing, epochs, the hash index and the hybrid log.
//!
//! Layer 1. Callers: `store`, `log`, `f2`. It knows devices as a contract only. `index` stores addresses and never sees
//! a key or a device; `hlog` moves pages and never sees the index; `store` is where they meet.

pub mod address;
pub mod codec;
pub mod crc32c;
pub mod epoch;
pub mod error;
pub mod hand_over;
pub mod hash;
pub mod hlog;
pub mod index;
pub mod prefetch;
pub mod record;
pub mod status;
mod word_copy;
pub mod zeros;

mod mutation;

pub use address::Address;
pub use error::{Error, ErrorKind, Result};
/// The seams of the device crate, under the name the layers above use.
pub use oxifaster_device::sync;
