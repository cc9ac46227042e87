//! Monotonic time.

use std::time::Instant;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the seam that everybody else must use")]
pub fn now() -> Instant {
    Instant::now()
}
