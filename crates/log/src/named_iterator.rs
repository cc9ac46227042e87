//! Iterators with a name, whose place survives: what a consumer of a queue needs.
//!
//! The place is a named position of the log, which every commit carries (`docs/format/log.md`, Commit). It moves when the consumer says
//! so, never when an entry is merely returned: so what was returned and not completed before a crash is returned again, and nothing is
//! skipped. Watched by `tests/named.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use oxifaster_core::{Address, Error, ErrorKind};

use crate::faster_log::FasterLog;
use crate::scan::Bytes;
use crate::shared::Shared;
use crate::tail::LogTail;

impl FasterLog {
    /// The iterator called `name`, at the place that it has completed: what was last committed of that when the log was opened, and what was
    /// completed since. A new name begins at the begin of the log. It follows the log as a [`tail`](Self::tail) does.
    ///
    /// # Errors
    /// `InvalidInput` when it exists already (one at a time), or as [`set_position`](Self::set_position).
    ///
    /// # Examples
    /// ```
    /// use oxifaster_device::NullDisk;
    /// use oxifaster_log::{FasterLog, FasterLogConfig};
    /// let log = FasterLog::open(FasterLogConfig::default(), NullDisk::new())?;
    /// log.append(b"one")?;
    /// log.append(b"two")?;
    /// log.commit()?;
    /// let mut mailer = log.named_iterator("mailer")?;
    /// let (_, entry) = mailer.try_next()?.expect("an entry");
    /// assert_eq!(entry, b"one");
    /// mailer.complete()?; // "one" was mailed
    /// log.commit()?;
    /// mailer.try_next()?;
    /// drop(mailer); // "two" was not
    /// let (_, entry) = log.named_iterator("mailer")?.try_next()?.expect("an entry");
    /// assert_eq!(entry, b"two");
    /// # Ok::<(), oxifaster_core::Error>(())
    /// ```
    pub fn named_iterator(&self, name: &str) -> Result<NamedIterator, Error> {
        if !self.shared.iterators.lock().insert(name.to_owned()) {
            let message = format!("the iterator {name:?} is in use: drop it before it is opened again");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let claim = Claim { log: Arc::clone(&self.shared), name: name.to_owned() };
        let begin = self.shared.begin();
        let from = self.shared.progress.latest_position(name).map(|latest| latest.max(begin));
        if from.is_none() {
            // Now, so that a name that can't be kept is told before anything was consumed.
            self.shared.set_position(name, Some(Address::from_low_bits(begin)))?;
        }
        let from = Address::from_low_bits(from.unwrap_or(begin));
        Ok(NamedIterator { tail: self.shared.tail(from, false), completed: from, claim })
    }

    /// Forgets the iterator called `name`: the next commit does not carry it.
    ///
    /// # Errors
    /// `InvalidInput` while it is in use.
    pub fn forget_iterator(&self, name: &str) -> Result<(), Error> {
        if self.shared.iterators.lock().contains(name) {
            let message = format!("the iterator {name:?} is in use: drop it first");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.shared.set_position(name, None)
    }
}

/// A name in use.
#[derive(Debug)]
struct Claim {
    log: Arc<Shared>,
    name: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.log.iterators.lock().remove(&self.name);
    }
}

/// An iterator whose place survives: committed entries in order, each at least once, from where the consumer of that name has got to.
///
/// # Durability
/// [`complete`](Self::complete) moves the place; the next commit of the log makes it durable, by itself under a policy that commits by
/// time, else when somebody commits. What was completed and not committed is returned again after a restart.
///
/// # Cancel safety
/// Dropping it keeps the place that was completed.
#[derive(Debug)]
pub struct NamedIterator {
    // Dropped before the name is free.
    tail: LogTail,
    completed: Address,
    claim: Claim,
}

impl NamedIterator {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.claim.name
    }

    /// Where it stands: behind the entry that it returned last.
    #[must_use]
    pub fn position(&self) -> Address {
        self.tail.position()
    }

    /// Where it goes on if it is opened again after the next commit. When [`truncate_suffix`](FasterLog::truncate_suffix) has dropped
    /// entries that it had completed, that place is among them until [`complete`](Self::complete) is called behind a further entry; the log goes
    /// on at the cut.
    #[must_use]
    pub fn completed(&self) -> Address {
        self.completed
    }

    /// The next entry, if it is committed already.
    ///
    /// # Errors
    /// As [`LogTail::try_next`].
    pub fn try_next(&mut self) -> Result<Option<(Address, Bytes)>, Error> {
        self.tail.try_next()
    }

    /// Says that everything returned so far was dealt with. Asks for no commit.
    ///
    /// # Errors
    /// As [`FasterLog::set_position`]; the place is the old one then.
    pub fn complete(&mut self) -> Result<(), Error> {
        let position = self.tail.position();
        if position != self.completed {
            self.claim.log.set_position(&self.claim.name, Some(position))?;
            self.completed = position;
        }
        Ok(())
    }
}

impl Stream for NamedIterator {
    type Item = Result<(Address, Bytes), Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.tail).poll_next(context)
    }
}
