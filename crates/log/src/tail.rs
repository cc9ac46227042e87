//! Following a log: an asynchronous stream that wakes on commits, or on appends.
//!
//! | stream | shows | is woken by |
//! |---|---|---|
//! | [`FasterLog::tail`] | what is committed | the syncer, through `progress` |
//! | [`FasterLog::tail_uncommitted`] | what is complete | whoever appends, or the writer, through [`listeners`](crate::listeners) |

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use oxifaster_core::{Address, Error, ErrorKind};

use crate::faster_log::FasterLog;
use crate::scan::Bytes;
use crate::shared::Shared;
use crate::timeline::Timeline;
use crate::walk::{Step, Walk, damaged};

impl FasterLog {
    /// The committed entries from `from` on, and then each new one as soon as it is committed. Ends when the log is closed. What is
    /// no longer in memory is read ahead by a thread of the stream; no poll waits for the device.
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::pin::Pin;
    ///
    /// use futures_core::Stream;
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// # pollster::block_on(async {
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let mut tail = log.tail(log.begin_address());
    /// let address = log.append(b"an event")?;
    /// assert!(tail.try_next()?.is_none(), "it is not committed");
    /// log.commit()?;
    /// let next = poll_fn(|context| Pin::new(&mut tail).poll_next(context)).await;
    /// assert_eq!(next.expect("an open log")?, (address, b"an event".to_vec()));
    /// # Ok::<(), oxifaster_core::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn tail(&self, from: Address) -> LogTail {
        self.shared.tail(from, false)
    }

    /// The entries from `from` on, and then each new one as soon as it is appended, in the order of their addresses, whether it is
    /// committed or not. Ends when the log is closed, and with the log's error when a sync has failed. No poll waits for the device,
    /// and nothing polls: an append wakes the stream. Appends cost what they cost without it as long as it has not caught up.
    ///
    /// # Durability
    /// None. **What this stream shows may be gone after a crash**, and something else may be appended in its place, as long as it is
    /// not below the [`committed_address`](Self::committed_address). Whoever acts on an entry in a way that can't be
    /// taken back waits for its commit first ([`wait_for_commit`](Self::wait_for_commit)), or uses [`tail`](Self::tail).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::pin::Pin;
    ///
    /// use futures_core::Stream;
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// # pollster::block_on(async {
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// let mut tail = log.tail_uncommitted(log.begin_address());
    /// let address = log.append(b"an event")?; // no commit
    /// let next = poll_fn(|context| Pin::new(&mut tail).poll_next(context)).await;
    /// assert_eq!(next.expect("an open log")?, (address, b"an event".to_vec()));
    /// assert!(address >= log.committed_address(), "a crash may take it back");
    /// # Ok::<(), oxifaster_core::Error>(())
    /// # })?;
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn tail_uncommitted(&self, from: Address) -> LogTail {
        self.shared.tail(from, true)
    }
}

impl Shared {
    /// A stream of committed entries, or of all.
    pub(crate) fn tail(self: &Arc<Self>, from: Address, uncommitted: bool) -> LogTail {
        let standing = self.progress.standing();
        let start = from.words().max(standing.begin);
        let walk = self.walk_to(start, standing.committed().max(start), &standing);
        let cuts = standing.cuts;
        LogTail {
            log: Arc::clone(self),
            walk,
            uncommitted,
            cuts,
            last_seen: None,
            id: None,
            failed: None,
            told: false,
        }
    }
}

/// What lies at a stream's place.
enum Next {
    Entry(Address, Bytes),
    /// Nothing that the stream shows.
    Nothing,
    /// It is being read.
    Reading,
}

/// A stream that follows a log.
///
/// When [`truncate_suffix`](FasterLog::truncate_suffix) drops entries that it has not returned, it never returns them; what it has returned
/// before stays returned, and it goes on behind the cut.
///
/// # Cancel safety
/// Dropping it loses nothing; [`position`](Self::position) says where another one goes on.
#[derive(Debug)]
pub struct LogTail {
    log: Arc<Shared>,
    walk: Walk,
    /// It does not wait for commits.
    uncommitted: bool,
    /// How often the log was cut when the walk's end was found.
    cuts: u64,
    /// Address of the last entry that was returned. (Where the walk stands may be behind a cut.)
    last_seen: Option<u64>,
    /// What it is registered as, with the listeners or with `progress`.
    id: Option<u64>,
    /// Why it returns nothing any more, whatever the log does.
    failed: Option<Error>,
    /// As a stream it has said that it ends.
    told: bool,
}

impl LogTail {
    /// Where the stream stands: behind the entry that it returned last.
    #[must_use]
    pub fn position(&self) -> Address {
        Address::from_low_bits(self.walk.at())
    }

    /// The next entry, if there is one that this stream shows already. `None` says that there may be one later; an end is an error, which
    /// is returned as often as it is asked for.
    ///
    /// # Errors
    /// As those of a scan. Behind the last entry why the log has ended: `Closed`, `Poisoned`, or what a reader of another process's log
    /// has ended with. For such a reader also `InvalidInput` when that process dropped entries that this stream has returned
    /// ([`FasterLog::truncate_suffix`]).
    pub fn try_next(&mut self) -> Result<Option<(Address, Bytes)>, Error> {
        let mut ended = None;
        loop {
            match self.advance()? {
                Next::Entry(address, entry) => return Ok(Some((address, entry))),
                Next::Reading => return Ok(None),
                Next::Nothing => {}
            }
            if let Some(ended) = ended {
                return Err(ended);
            }
            ended = self.log.progress.ended();
            if ended.is_none() {
                return Ok(None);
            }
            // What came between that look and the end counts.
        }
    }

    fn advance(&mut self) -> Result<Next, Error> {
        if let Some(error) = &self.failed {
            return Err(error.duplicate());
        }
        let next = self.look();
        if let Err(error) = &next {
            self.failed = Some(error.duplicate());
        }
        next
    }

    fn look(&mut self) -> Result<Next, Error> {
        loop {
            if self.cuts != self.log.progress.cuts() && !self.extend()? {
                return Ok(Next::Nothing);
            }
            let step = match self.walk.step() {
                Ok(Step::Broken) if self.uncommitted && self.cuts != self.log.progress.cuts() => continue,
                Ok(Step::Broken) => Err(self.broken()),
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
                    if !self.extend()? {
                        return Ok(Next::Nothing);
                    }
                }
                Err(error) => return Err(self.log.judged_walk(self.walk.at(), error)),
            }
        }
    }

    /// Gives the walk a new end, and says whether anything lies before it.
    fn extend(&mut self) -> Result<bool, Error> {
        let standing = self.log.progress.standing();
        let timeline = Arc::clone(&standing.timeline);
        let end = if self.uncommitted {
            // Behind the look at the time lines: what it goes over may be cut meanwhile, and is asked for again then.
            self.log.ring.complete_behind(timeline.skip_cuts(self.walk.at()))
        } else {
            standing.committed()
        };
        self.refuse_dropped(&timeline)?;
        self.cuts = standing.cuts;
        self.walk.extend(end, timeline);
        Ok(self.walk.at() < end)
    }

    /// Where the next entry lies, or will.
    fn place(&self) -> u64 {
        self.log.progress.standing().timeline.skip_cuts(self.walk.at())
    }

    #[cold]
    fn broken(&self) -> Error {
        if self.walk.at() < self.log.progress.committed() {
            return damaged(self.walk.at());
        }
        let message = "no entry verifies here: no entry begins at this address, or the memory is damaged";
        Error::new(ErrorKind::Corruption, message).with_address(Address::from_low_bits(self.walk.at()))
    }

    /// Waits for something that may be shown. An error is the end of the log.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.uncommitted {
            return self.log.progress.poll_beyond(self.walk.at(), &mut self.id, context);
        }
        let place = self.place();
        let (ring, progress) = (&self.log.ring, &self.log.progress);
        self.log.listeners.poll(ring, progress, place, &mut self.id, context.waker())
    }

    /// Whoever reads the log of another process is told when that one took back what was read.
    fn refuse_dropped(&self, timeline: &Timeline) -> Result<(), Error> {
        let dropped = self.last_seen.filter(|address| timeline.is_cut_off(*address));
        let Some(address) = dropped.filter(|_| self.log.follower.is_some()) else { return Ok(()) };
        let message =
            "the log's writer dropped entries that were read here: what follows is another time line";
        Err(Error::new(ErrorKind::InvalidInput, message).with_address(Address::from_low_bits(address)))
    }
}

impl Stream for LogTail {
    type Item = Result<(Address, Bytes), Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.told {
            this.walk.set_waker(Some(context.waker()));
            let next = this.advance();
            this.walk.set_waker(None);
            match next {
                Ok(Next::Entry(address, entry)) => return Poll::Ready(Some(Ok((address, entry)))),
                Ok(Next::Reading) => return Poll::Pending,
                Err(error) => {
                    this.told = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(Next::Nothing) => {}
            }
            match this.wait(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    this.told = true;
                    let closed = error.kind() == ErrorKind::Closed;
                    return Poll::Ready((!closed).then_some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl Drop for LogTail {
    fn drop(&mut self) {
        match self.id {
            Some(id) if self.uncommitted => self.log.listeners.forget(&self.log.ring, id),
            Some(id) => self.log.progress.forget(id),
            None => {}
        }
    }
}
