//! A thread that is yet to be started: so that all are set up, and counted in, before the first one runs.

use oxifaster_device::sync::thread;

use crate::failure::Failure;

/// A thread's name and what it does.
pub struct NamedThread {
    name: &'static str,
    body: Box<dyn FnOnce() + Send>,
}

impl NamedThread {
    /// A thread that will run `body`.
    pub fn new(name: &'static str, body: impl FnOnce() + Send + 'static) -> Self {
        Self { name, body: Box::new(body) }
    }

    /// Starts it. Nobody joins it: what it does ends when its queue is closed, and it counts itself out.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn start(self) -> Result<(), Failure> {
        let started = thread::spawn(self.name, self.body);
        started.map(drop).map_err(|error| Failure::other(format_args!("can't start a thread: {error}")))
    }
}

impl std::fmt::Debug for NamedThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamedThread").field("name", &self.name).finish_non_exhaustive()
    }
}
