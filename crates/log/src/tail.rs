//! Following a log: an asynchronous stream that wakes on commits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use oxifaster_core::{Address, Error, ErrorKind};

use crate::faster_log::FasterLog;
use crate::requests::Goal;
use crate::scan::Bytes;
use crate::shared::Shared;
use crate::walk::Walk;

impl FasterLog {
    /// The committed entries from `from` on, and then each new one as soon as it is committed. Ends when the log is closed. What is
    /// no longer in memory is read from the device inside of the poll.
    pub fn tail(&self, from: Address) -> LogTail {
        let start = from.words().max(self.shared.begin());
        let committed = self.shared.progress.committed();
        let walk = self.shared.walk(start, committed.max(start));
        LogTail { log: Arc::clone(&self.shared), walk, id: None, ended: false }
    }
}

/// A stream that follows a log.
///
/// # Cancel safety
/// Dropping it loses nothing; [`position`](Self::position) says where another one goes on.
#[derive(Debug)]
pub struct LogTail {
    log: Arc<Shared>,
    walk: Walk,
    id: Option<u64>,
    ended: bool,
}

impl LogTail {
    /// Where the stream stands: behind the entry that it returned last.
    #[must_use]
    pub fn position(&self) -> Address {
        Address::from_low_bits(self.walk.at())
    }

    /// The next entry, if it is committed already.
    ///
    /// # Errors
    /// As those of a scan; the stream has ended then.
    pub fn try_next(&mut self) -> Result<Option<(Address, Bytes)>, Error> {
        while !self.ended {
            match self.walk.step_committed() {
                Ok(Some(found)) if found.is_user() => {
                    let entry = self.walk.payload(found).to_vec();
                    return Ok(Some((Address::from_low_bits(found.address), entry)));
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    let committed = self.log.progress.committed();
                    let timeline = self.log.timeline();
                    if timeline.skip_cuts(self.walk.at()) >= committed {
                        return Ok(None);
                    }
                    self.walk.extend(committed, timeline);
                }
                Err(error) => {
                    self.ended = true;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }
}

impl Stream for LogTail {
    type Item = Result<(Address, Bytes), Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match this.try_next() {
                Ok(Some(found)) => return Poll::Ready(Some(Ok(found))),
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(None) if this.ended => return Poll::Ready(None),
                Ok(None) => {}
            }
            let goal = Goal { until: this.log.progress.committed().max(this.walk.at()) + 1, ticket: 0 };
            match this.log.progress.poll(goal, None, &mut this.id, context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    this.ended = true;
                    let closed = error.kind() == ErrorKind::Closed;
                    return Poll::Ready((!closed).then_some(Err(error)));
                }
            }
        }
    }
}

impl Drop for LogTail {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.log.progress.forget(id);
        }
    }
}
