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
use crate::walk::{Step, Walk, damaged};

impl FasterLog {
    /// The committed entries from `from` on, and then each new one as soon as it is committed. Ends when the log is closed. What is
    /// no longer in memory is read ahead by a thread of the stream; no poll waits for the device.
    pub fn tail(&self, from: Address) -> LogTail {
        self.shared.tail(from)
    }
}

impl Shared {
    pub(crate) fn tail(self: &Arc<Self>, from: Address) -> LogTail {
        let start = from.words().max(self.begin());
        let committed = self.progress.committed();
        let walk = self.walk(start, committed.max(start));
        LogTail { log: Arc::clone(self), walk, last_seen: None, id: None, ended: false }
    }
}

/// What lies at a stream's place.
enum Next {
    Entry(Address, Bytes),
    /// Nothing that is committed.
    Nothing,
    /// It is being read.
    Reading,
}

/// A stream that follows a log.
///
/// # Cancel safety
/// Dropping it loses nothing; [`position`](Self::position) says where another one goes on.
#[derive(Debug)]
pub struct LogTail {
    log: Arc<Shared>,
    walk: Walk,
    /// Address of the last entry that was returned. (Where the walk stands may be behind a cut.)
    last_seen: Option<u64>,
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
        match self.advance()? {
            Next::Entry(address, entry) => Ok(Some((address, entry))),
            Next::Nothing | Next::Reading => Ok(None),
        }
    }

    fn advance(&mut self) -> Result<Next, Error> {
        while !self.ended {
            let step = match self.walk.step() {
                Ok(Step::Broken) => Err(damaged(self.walk.at())),
                step => step,
            };
            match step {
                Ok(Step::Entry(found)) if found.is_user() => {
                    self.last_seen = Some(found.address);
                    let entry = self.walk.payload(found).to_vec();
                    return Ok(Next::Entry(Address::from_low_bits(found.address), entry));
                }
                Ok(Step::Entry(_)) => {}
                Ok(Step::NotYet) => return Ok(Next::Reading),
                Ok(Step::End | Step::Broken) => {
                    let committed = self.log.progress.committed();
                    // In this order: a table that is newer than the committed address is fine.
                    let timeline = self.log.timeline();
                    self.refuse_dropped(&timeline)?;
                    if timeline.skip_cuts(self.walk.at()) >= committed {
                        return Ok(Next::Nothing);
                    }
                    self.walk.extend(committed, timeline);
                }
                Err(error) => {
                    self.ended = true;
                    return Err(self.log.judged_walk(self.walk.at(), error));
                }
            }
        }
        Ok(Next::Nothing)
    }

    /// Whoever reads the log of another process is told when that one took back what was read.
    fn refuse_dropped(&mut self, timeline: &Timeline) -> Result<(), Error> {
        let dropped = self.last_seen.filter(|address| timeline.is_cut_off(*address));
        let Some(address) = dropped.filter(|_| self.log.follower.is_some()) else { return Ok(()) };
        self.ended = true;
        let message =
            "the log's writer dropped entries that were read here: what follows is another time line";
        Err(Error::new(ErrorKind::InvalidInput, message).with_address(Address::from_low_bits(address)))
    }
}

impl Stream for LogTail {
    type Item = Result<(Address, Bytes), Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            this.walk.set_waker(Some(context.waker()));
            let next = this.advance();
            this.walk.set_waker(None);
            match next {
                Ok(Next::Entry(address, entry)) => return Poll::Ready(Some(Ok((address, entry)))),
                Ok(Next::Reading) => return Poll::Pending,
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(Next::Nothing) if this.ended => return Poll::Ready(None),
                Ok(Next::Nothing) => {}
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
