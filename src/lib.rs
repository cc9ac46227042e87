//! oxifaster: an embeddable concurrent key-value store for point operations on state larger than memory.
//!
//! A Rust implementation of the FASTER design: a latch-free hash index over a *hybrid log*, whose newest records are
//! updated in place in memory and whose older ones lie on a device.
//!
//! ```
//! use std::sync::Arc;
//! use oxifaster::prelude::*;
//!
//! let folder = std::env::temp_dir().join(format!("oxifaster-doc-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! let device = FileSystemDisk::single_file(folder.join("store.log"))?;
//! let store = Arc::new(FasterKv::<String, u64, _>::open(FasterKvConfig::default(), device)?);
//!
//! let mut session = store.start_session()?;
//! session.upsert("apples", 3)?;
//! session.rmw("apples", |count| {
//!     *count += 2;
//!     true
//! })?;
//! assert_eq!(session.read("apples")?, Some(5));
//! store.close()?; // everything survives power loss now
//! # drop((session, store));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

pub use oxifaster_core::address;
pub use oxifaster_core::codec;
pub use oxifaster_core::epoch;
pub use oxifaster_core::error;
pub use oxifaster_core::index;
pub use oxifaster_core::record;

/// The hybrid log, under the name of the earlier ports.
pub mod allocator {
    pub use oxifaster_core::hlog::{
        HybridLog, HybridLog as PersistentMemoryMalloc, HybridLogConfig, PageLayout,
    };
}

/// Where bytes live: the device contract and its implementations.
pub mod device {
    pub use oxifaster_device::conformance;
    pub use oxifaster_device::fault;
    pub use oxifaster_device::{
        Completion, DeviceError, DeviceErrorKind, FileOptions, FileSystemDisk, Geometry, Headroom, IoBuffer,
        IoOperation, IoQueue, IoRequest, MetadataSlot, NullDisk, QueueOptions, SpaceUse, StorageDevice, Wait,
        Words,
    };
}

/// The store: [`FasterKv`](store::FasterKv), its sessions and configuration.
pub mod store {
    pub use oxifaster_core::hash::{HashKind, KeyHash};
    pub use oxifaster_store::{
        AsyncSession, Completed, FasterKv, FasterKvBuilder, FasterKvConfig, MemoryPlan, PendingId,
        RecordView, RecoveryProgress, RecoveryReport, RmwOutcome, Session, Started,
    };
}

/// Statistics of a store.
pub mod stats {
    pub use oxifaster_store::{Operations, Statistics};
}

/// What most programs need.
pub mod prelude {
    pub use crate::address::Address;
    pub use crate::codec::{Bincode, BlittableCodec, PersistKey, PersistValue};
    pub use crate::device::{FileSystemDisk, NullDisk, StorageDevice};
    pub use crate::error::{Error, ErrorKind};
    pub use crate::stats::Statistics;
    pub use crate::store::{AsyncSession, FasterKv, FasterKvConfig, HashKind, RmwOutcome, Session};
}
