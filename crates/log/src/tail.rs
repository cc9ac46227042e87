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
use crate::timeline::Timeline;
use crate::walk::Walk;

impl FasterLog {
    /// The committed entries from `from` on, and then each new one as soon as it is committed. Ends when the log is closed. What is
    /// no longer in memory is read from the device inside of the poll.
    pub fn tail(&self, from: Address) -> LogTail {
        self.shared.tail(from)
    }
}

impl Shared {
    pub(crate) fn tail(self: &Arc<Self>, from: Address) -> LogTail {
        let start = from.words().max(self.begin());
        let committed = self.progress.committed();
        let walk = self.walk(start, committed.max(start));
        LogTail { log: Arc::clone(self), walk, seen_until: 0, id: None, ended: false }
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
    /// End of the last entry that was returned.
    seen_until: u64,
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
    /// As those of a scan; the stream has ended then. For a reader of another process's log also `InvalidInput` when that process
    /// dropped entries that this stream has returned ([`FasterLog::truncate_suffix`]).
    pub fn try_next(&mut self) -> Result<Option<(Address, Bytes)>, Error> {
        while !self.ended {
            match self.walk.step_committed() {
                Ok(Some(found)) if found.is_user() => {
                    self.seen_until = self.walk.at();
                    let entry = self.walk.payload(found).to_vec();
                    return Ok(Some((Address::from_low_bits(found.address), entry)));
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    let committed = self.log.progress.committed();
                    // In this order: a table that is newer than the committed address is fine.
                    let timeline = self.log.timeline();
                    self.refuse_dropped(&timeline)?;
                    if timeline.skip_cuts(self.walk.at()) >= committed {
                        return Ok(None);
                    }
                    self.walk.extend(committed, timeline);
                }
                Err(error) => {
                    self.ended = true;
                    return Err(self.log.judged_walk(self.walk.at(), error));
                }
            }
        }
        Ok(None)
    }

    /// Whoever reads the log of another process is told when that one took back what was read.
    fn refuse_dropped(&mut self, timeline: &Timeline) -> Result<(), Error> {
        let follows = self.log.follower.is_some() && self.seen_until > 0;
        if !follows || !timeline.is_cut_off(self.seen_until - 1) {
            return Ok(());
        }
        self.ended = true;
        let message =
            "the log's writer dropped entries that were read here: what follows is another time line";
        Err(Error::new(ErrorKind::InvalidInput, message)
            .with_address(Address::from_low_bits(self.seen_until)))
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
