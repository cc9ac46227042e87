//! The operations of [`stored`](super::stored) as futures, and just enough of an executor to wait for several of them on one
//! thread.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use oxifaster_device::StorageDevice;
use oxifaster_device::sync::{Condvar, Mutex};
use oxifaster_store::{AsyncSession, RmwOutcome};

use super::stored::{CallError, Stored, state_of};
use crate::history::{Operation, Outcome};
use crate::workload::{Shape, mix};

/// An asynchronous session of a shape.
pub type AsyncSessionOf<S, D> = AsyncSession<<S as Shape>::Key, <S as Shape>::Value, D>;

/// What an operation is as a future.
pub type Awaited<'s> = Pin<Box<dyn Future<Output = Result<Outcome, CallError>> + 's>>;

/// As [`call`](super::stored::call), without `fetch_add`.
///
/// # Errors
/// As there.
pub async fn call<S: Stored, D: StorageDevice>(
    session: &AsyncSessionOf<S, D>,
    number: u64,
    operation: Operation,
) -> Result<Outcome, CallError> {
    let key = S::key(number);
    let state = |value: Option<S::Value>| state_of::<S>(number, value.as_ref());
    Ok(match operation {
        Operation::Read => Outcome::Value(state(session.read(&key).await?)?),
        Operation::Remove => Outcome::Value(state(session.remove(&key).await?)?),
        Operation::Delete => session.delete(&key).await.map(|()| Outcome::Done)?,
        Operation::Upsert(new) => session.upsert(&key, S::value(new)).await.map(|()| Outcome::Done)?,
        Operation::InsertIfAbsent(new) => {
            Outcome::Inserted(session.insert_if_absent(&key, S::value(new)).await?)
        }
        Operation::CompareExchange { expected, new } => {
            match session.compare_exchange(&key, S::value(expected), S::value(new)).await? {
                Ok(()) => Outcome::Exchanged,
                Err(found) => Outcome::Differs(state(found)?),
            }
        }
        Operation::Decline => {
            let spoil = |value: &mut S::Value| {
                *value = S::value(mix(number));
                false
            };
            match session.rmw(key, spoil).await? {
                RmwOutcome::Unchanged => Outcome::Done,
                other => {
                    let message = format!("key {number}: an rmw that declined is told as {other:?}");
                    return Err(CallError::Wrong(message));
                }
            }
        }
        Operation::Add(delta) => add::<S, D>(session, number, delta).await?,
    })
}

async fn add<S: Stored, D: StorageDevice>(
    session: &AsyncSessionOf<S, D>,
    number: u64,
    delta: u64,
) -> Result<Outcome, CallError> {
    let mut seen = Ok(0);
    let modify = |value: &mut S::Value| {
        seen = S::number(value).map(|before| before.wrapping_add(delta));
        if let Ok(sum) = seen {
            *value = S::value(sum);
        }
        seen.is_ok()
    };
    let outcome = session.rmw(S::key(number), modify).await?;
    let sum = seen.map_err(|message| CallError::Wrong(format!("key {number}, in an rmw: {message}")))?;
    match outcome {
        RmwOutcome::Created => Ok(Outcome::Added { sum, created: true }),
        RmwOutcome::Updated => Ok(Outcome::Added { sum, created: false }),
        RmwOutcome::Unchanged => {
            Err(CallError::Wrong(format!("key {number}: an rmw that changed its value is told as unchanged")))
        }
    }
}

/// Wakes the thread that waits for its futures.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock() = true;
        self.heard.notify_one();
    }
}

impl Bell {
    /// Waits until a future of this bell may go on.
    pub fn wait(&self) {
        let mut rung = self.rung.lock();
        while !std::mem::take(&mut *rung) {
            rung = self.heard.wait(rung);
        }
    }
}

/// Runs one future to its end on the calling thread.
pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => bell.wait(),
        }
    }
}
