//! Ctrl-C and termination signals: a flag that the pipelines look at between chunks.
//!
//! The first signal only sets the flag, so that a run ends at a line end and says what is durable. The second one ends
//! the process at once, for whoever does not want to wait.

use std::io;

use oxifaster_device::sync::Arc;
use oxifaster_device::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, FailureKind};

/// Whether the user wants the run to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A flag that Ctrl-C and termination signals set from now on.
    ///
    /// # Errors
    /// When the operating system refuses the handlers.
    pub fn on_signals() -> Result<Self, Failure> {
        let interrupt = Self::default();
        interrupt
            .register()
            .map_err(|error| Failure::other(format_args!("can't handle signals: {error}")))?;
        Ok(interrupt)
    }

    fn register(&self) -> io::Result<()> {
        for signal in signal_hook::consts::TERM_SIGNALS {
            // In this order: the handler that ends the process sees the flag only if an earlier signal has set it.
            let code = i32::from(FailureKind::Interrupted as u8);
            signal_hook::flag::register_conditional_shutdown(*signal, code, Arc::clone(&self.0))?;
            signal_hook::flag::register(*signal, Arc::clone(&self.0))?;
        }
        Ok(())
    }

    /// Whether the run should end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Does what a signal does.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
