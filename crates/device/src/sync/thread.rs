//! Threads: named, joined by whoever started them; and the ways to wait.

use std::time::Duration;

#[cfg(loom)]
pub use loom::thread::{JoinHandle, yield_now};
#[cfg(not(loom))]
pub use std::thread::{JoinHandle, yield_now};

/// Starts a thread called `name` (at most 15 bytes show up in tools).
///
/// # Errors
/// When the operating system refuses.
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    #[cfg(not(loom))]
    return std::thread::Builder::new().name(name.to_owned()).spawn(body);
    #[cfg(loom)]
    {
        let _ = name;
        Ok(loom::thread::spawn(body))
    }
}

/// Starts a thread called `name` that may borrow, and ends within `scope`. Not modelled.
///
/// # Errors
/// When the operating system refuses.
#[cfg(not(loom))]
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> std::io::Result<std::thread::ScopedJoinHandle<'scope, T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, body)
}

/// Sleeps. Under loom it only yields.
#[expect(clippy::disallowed_methods, reason = "this is the seam that everybody else must use")]
pub fn sleep(duration: Duration) {
    #[cfg(not(loom))]
    std::thread::sleep(duration);
    #[cfg(loom)]
    {
        let _ = duration;
        loom::thread::yield_now();
    }
}

/// Tells the processor that this is a spin loop; under loom it yields.
#[inline]
pub fn spin_hint() {
    #[cfg(not(loom))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
