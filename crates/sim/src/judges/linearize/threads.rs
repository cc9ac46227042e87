//! The threads of a round: each with its sessions and its part of the history.

use std::sync::Arc;

use oxifaster_device::StorageDevice;
use oxifaster_device::sync::atomic::AtomicBool;
use oxifaster_device::sync::thread;
use oxifaster_store::FasterKv;

use super::load::{Load, LoadCounts, Loaded, Mixture};
use crate::history::{Event, Order, Recorder};
use crate::judges::stored::{CallError, Stored};
use crate::workload::{Keys, Prng};

/// What the threads of a round work on.
pub(super) struct Threads<'r, S: Stored, D: StorageDevice> {
    pub(super) store: &'r Arc<FasterKv<S::Key, S::Value, D>>,
    pub(super) order: &'r Arc<Order>,
    pub(super) keys: &'r Arc<Keys>,
    pub(super) stop: &'r Arc<AtomicBool>,
    pub(super) count: u32,
    /// Operations of each.
    pub(super) operations: usize,
}

impl<S: Stored, D: StorageDevice> Threads<'_, S, D> {
    /// Runs the threads; returns what they recorded, and the first error for which `unexplained` has a message.
    pub(super) fn run(
        &self,
        prng: &mut Prng,
        unexplained: impl Fn(&CallError) -> Option<String>,
    ) -> Result<(Vec<Event>, LoadCounts), String> {
        let mixture = Mixture::draw(prng);
        let mut running = Vec::new();
        for thread in 0..self.count {
            let load = self.load(thread, mixture, Prng::new(prng.next_u64()))?;
            let operations = self.operations;
            let body = move || load.run(operations);
            running.push(thread::spawn("judge-load", body).map_err(|error| format!("spawn: {error}"))?);
        }
        let (mut events, mut counts) = (Vec::new(), LoadCounts::default());
        let mut failed = None;
        for handle in running {
            match handle.join() {
                Ok(Loaded { events: recorded, counts: more, error }) => {
                    events.extend(recorded);
                    counts.by_futures += more.by_futures;
                    counts.dropped_futures += more.dropped_futures;
                    failed = failed.or(error.and_then(|error| unexplained(&error)));
                }
                Err(_) => _ = failed.get_or_insert("a thread of the load panicked".to_owned()),
            }
        }
        failed.map_or(Ok((events, counts)), Err)
    }

    fn load(&self, thread: u32, mixture: Mixture, prng: Prng) -> Result<Load<S, D>, String> {
        let started = |error| format!("starting a session: {error}");
        Ok(Load {
            session: self.store.start_session().map_err(started)?,
            futures: self.store.start_async_session().map_err(started)?,
            recorder: Recorder::new(self.order, thread, self.operations + 64),
            prng,
            keys: Arc::clone(self.keys),
            mixture,
            stop: Arc::clone(self.stop),
            next_value: u64::from(thread + 1) << 40,
            pending: Vec::new(),
            seen: [0; 64],
            counts: LoadCounts::default(),
        })
    }
}
