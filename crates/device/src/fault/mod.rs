//! An in-memory device that loses power, fails, lies about order and rots on demand, all from one seed.
//!
//! Layer 0, for tests and simulations: nothing in production opens it. Callers: the tests of this crate, of the engines
//! and of the simulator. It knows the [`StorageDevice`](crate::StorageDevice) contract and nothing of what is stored.
//!
//! ```text
//!   submit ──► waiting ──kick/reap──► in flight (delayed) ──► executed, completion reapable ──reap──► caller
//!                                          │                        │
//!                                          │                        ▼
//!                                          │                  newest image  ◄── every read
//!                                          │                  unsynced list ──sync──► durable image
//!                                          ▼                        ▼                     ▼
//!                                       crash(seed):   each write kept, dropped, torn,    kept
//!                                                      zeroed or scrambled, on its own
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `device` | the handle: construction, crash, reopen, runtime setters, raw access; the contract's implementation |
//! | `disk` | what outlives a device, and the single writer's lock |
//! | `queue` | a queue on its caller's thread: order, delay, depth |
//! | `state` | what one operation does to the images, and which fault hits it |
//! | `image` | a sparse map of blocks and two metadata slots |
//! | `crash` | what power loss makes of unsynced changes |
//! | `plan` | which faults, when |
//! | `counts` | what was really injected |
//! | `random` | the seeded generator |
//!
//! # Invariants
//! 1. The same seed, plan and sequence of calls from one thread give the same results, bytes and counts.
//! 2. Only a successful sync (for what was executed before it was submitted), a metadata write and the raw access of tests
//!    change the durable image. Close and drop never do.
//! 3. A crash changes nothing outside of the ranges of unsynced and in-flight changes.
//! 4. After `crash`, `reopen` or `close` the old handles fail with `Closed` and reach no image any more.
//! 5. A waiting reap always returns something while requests are in flight.
//!
//! 6. One writer: a disk is opened by [`FaultDisk::open`] only when no handle of its device is left, or it was closed. Clones
//!    of a handle are one owner.
//!
//! # Examples
//! A write that was never synced may be lost, one that was synced is not:
//! ```
//! use oxifaster_device::fault::{CrashFates, FaultDevice, FaultPlan};
//! use oxifaster_device::{IoBuffer, IoOperation, IoRequest, QueueOptions, StorageDevice, Wait};
//!
//! # fn main() -> Result<(), oxifaster_device::DeviceError> {
//! let device = FaultDevice::with_plan(7, FaultPlan::new().crash_fates(CrashFates::DROP_ALL));
//! let mut queue = device.open_queue(QueueOptions::default())?;
//! let mut done = Vec::new();
//! for (offset, operation) in [
//!     (0, IoOperation::Write(IoBuffer::zeroed(1)?)),
//!     (0, IoOperation::Sync),
//!     (4096, IoOperation::Write(IoBuffer::zeroed(1)?)),
//! ] {
//!     queue.submit(IoRequest { tag: 0, offset, operation })?;
//!     queue.reap(Wait::ForOne, &mut done)?;
//! }
//! let after = device.crash(1);
//! assert_eq!(after.written_ranges(), vec![0..4096]);
//! assert_eq!(after.counts().crash_dropped, 1);
//! # Ok(())
//! # }
//! ```

mod counts;
mod crash;
mod device;
mod disk;
mod image;
mod plan;
mod queue;
mod random;
mod state;

pub use counts::{FaultCounts, Traffic};
pub use crash::CrashFates;
pub use device::FaultDevice;
pub use disk::FaultDisk;
pub use plan::{CrashPoint, FaultPlan, Trigger};

/// The unit in which transfers are cut short and writes are torn, in bytes.
pub const SECTOR_BYTES: usize = 512;
