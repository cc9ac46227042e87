//! Input that may come slowly: a thread reads, so that whoever appends sees an interrupt while nothing comes.
//!
//! ```text
//!   reading thread --- a few chunks ---> whoever asks, every 50 ms at least
//! ```
//!
//! A read that waits can't be ended from outside, so the thread is not waited for: it ends with its input, or with the process.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::Duration;

use oxifaster_device::sync::{Arc, Condvar, Mutex, thread};

use crate::failure::Failure;

/// Bytes of a chunk at most.
const CHUNK_BYTES: usize = 1 << 18;
/// Chunks that were read and not taken.
const CHUNKS_MAX: usize = 8;
/// Between two looks at the interrupt flag while nothing comes.
const PATIENCE: Duration = Duration::from_millis(50);

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// As many bytes as there were. Never empty.
    Chunk(Vec<u8>),
    /// Nothing came for a while.
    Nothing,
    /// The end of the input, or the error that ended it.
    End(io::Result<()>),
}

/// Chunks of an input, in order.
#[derive(Debug)]
pub(super) struct Chunks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Vec<u8>>,
    end: Option<io::Result<()>>,
    /// Nobody takes chunks any more.
    abandoned: bool,
}

impl Chunks {
    /// Starts to read.
    pub(super) fn of(input: impl Read + Send + 'static) -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::spawn("log-input", move || theirs.fill(input))
            .map_err(|error| Failure::other(format_args!("can't start a thread: {error}")))?;
        Ok(Self(shared))
    }

    /// The next chunk; waits for it for a moment only.
    pub(super) fn next(&self) -> Next {
        let mut queue = self.0.queue.lock();
        if queue.chunks.is_empty() && queue.end.is_none() {
            queue = self.0.changed.wait_timeout(queue, PATIENCE).0;
        }
        if let Some(chunk) = queue.chunks.pop_front() {
            self.0.changed.notify_all();
            return Next::Chunk(chunk);
        }
        queue.end.take().map_or(Next::Nothing, Next::End)
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.0.queue.lock().abandoned = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn fill(&self, mut input: impl Read) {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            let mut queue = self.queue.lock();
            while queue.chunks.len() >= CHUNKS_MAX && !queue.abandoned {
                queue = self.changed.wait(queue);
            }
            match read {
                _ if queue.abandoned => return,
                Ok(bytes) if bytes > 0 => {
                    queue.chunks.push_back(buffer.get(..bytes).unwrap_or_default().to_vec());
                }
                ended => queue.end = Some(ended.map(drop)),
            }
            self.changed.notify_all();
            if queue.end.is_some() {
                return;
            }
        }
    }
}
