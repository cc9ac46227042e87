//! The parts that the `load` and `count` pipelines are built of: a queue, permits, ordered inboxes, what a run shares.
//!
//! ```text
//!            permit: at most N chunks exist
//!  reader ──► ChunkQueue ──► parser 0..P ──► OrderedInbox 0..S ──► one session each      load: order matters
//!  reader ──► ChunkQueue ──► worker 0..P, one session each                              count: order does not
//! ```
//!
//! Every thread here ends when the queue or inbox that feeds it is closed; closing never loses what was pushed before. The
//! reader may sit in a blocking read of standard input for ever, so nobody ever waits for the reader.

mod chunk_queue;
mod in_flight;
mod named_thread;
mod ordered_inbox;
mod run_state;

pub use chunk_queue::ChunkQueue;
pub use in_flight::{InFlight, Permit};
pub use named_thread::NamedThread;
pub use ordered_inbox::OrderedInbox;
pub use run_state::{Progress, RunState, RunningWorker, watch};
