//! Randomness for identities. Not for simulations: those seed their own generators and print the seed.

use crate::error::{DeviceError, DeviceErrorKind};

/// 16 bytes from the operating system, for store ids.
///
/// # Errors
/// `Io` when the operating system has no randomness.
pub fn random_id() -> Result<[u8; 16], DeviceError> {
    let mut id = [0_u8; 16];
    getrandom::fill(&mut id).map_err(|error| {
        DeviceError::new(DeviceErrorKind::Io, format!("the operating system gave no random bytes: {error}"))
    })?;
    Ok(id)
}
