//! FasterLog: a durable log of byte strings that never loses what it acknowledged.
//!
//! Layer 2, beside the store. Callers: the facade, the program. It knows devices as a contract; of `core` it uses addresses, errors
//! and the seams. What lies on the device is in `docs/format/log.md`.
//!
//! ```text
//!   append, append_batch, try_append                  commit, wait_for_commit, futures
//!        |  one compare-exchange, a copy, a store                 |  request
//!        v                                                        v
//!   +-----------------------------+   blocks   +--------+     +----------+   written    +--------+
//!   | ring: the newest part of    | ---------> | device | <-- | writer   | -----------> | syncer | --> everybody
//!   | the log, in memory          |            +--------+     +----------+   commits    +--------+     who waits
//!   +-----------------------------+                ^
//!        ^  entries that are still there           |  blocks
//!        +-------------- scans, tails, reads ------+
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | `faster_log` | the handle; `append`, `truncate`, `numbering`, `futures` are parts of it |
//! | `ring` | reservation, publication, release: the part without locks |
//! | `writer`, `syncer` | the two threads; `frontier` is the writer's walk over complete entries, `outgoing` its blocks on their way, `sealing` what ends appends |
//! | `standing` | what belongs together: commit, time lines, begin |
//! | `progress`, `listeners` | who waits for what; `listeners` for entries that need not be committed |
//! | `walk`, `window`, `read_ahead` | verified entries, from memory or device |
//! | `recovery` | finding the end |
//! | `scan`, `tail` | reading in order |
//! | `named_iterator` | reading in order, with a place that survives |
//! | `reader`, `follower` | a log that another process writes: the handle, and who looks for commits |
//! | `entry`, `commit_record`, `facts`, `timeline` | bytes and what they mean; pure |
//!
//! # Examples
//! ```
//! use oxifaster_device::FileSystemDisk;
//! use oxifaster_log::{FasterLog, FasterLogConfig};
//! # let folder = tempfile::tempdir()?;
//! let device = FileSystemDisk::single_file(folder.path().join("events.log"))?;
//! let log = FasterLog::open(FasterLogConfig::default(), device)?;
//! let address = log.append(b"an event")?;
//! log.commit()?; // survives power loss from here on
//! assert_eq!(log.read_entry(address)?.as_deref(), Some(&b"an event"[..]));
//! for (address, entry) in log.scan_all() {
//!     println!("{address}: {} bytes", entry.len());
//! }
//! log.close()?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod append;
mod checks;
mod commit_record;
mod configuration;
mod decode;
mod entry;
mod facts;
mod faster_log;
mod follower;
mod frontier;
mod futures;
mod listeners;
#[cfg(all(loom, test))]
mod model;
mod mutation;
mod named_iterator;
mod numbering;
mod outgoing;
mod progress;
mod read_ahead;
mod reader;
mod recovery;
mod requests;
mod ring;
mod scan;
mod sealing;
mod shared;
mod standing;
mod stretch;
mod syncer;
mod tail;
mod timeline;
mod transfer;
mod truncate;
mod walk;
mod window;
mod writer;

pub use checks::CheckReport;
pub use commit_record::{COOKIE_BYTES_MAX, NAMED_POSITIONS_MAX};
pub use configuration::{CommitPolicy, FasterLogConfig};
pub use faster_log::FasterLog;
pub use futures::{AppendAndCommitFuture, AppendBatchFuture, AppendFuture, CommitFuture};
pub use named_iterator::NamedIterator;
pub use reader::{FasterLogReader, FasterLogReaderConfig};

pub use recovery::RecoveryReport;
pub use requests::CommitInfo;
pub use scan::{Bytes, LogScan, ScanAll, ScanEnd};
pub use tail::LogTail;
