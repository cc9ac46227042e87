//! Who a device is within this process, and whether it still exists.
//!
//! Callers: every implementation of [`StorageDevice`](crate::StorageDevice) owns one [`DeviceIdentity`] and lends it;
//! caches of per-thread things (`local.rs`) keep a [`DeviceWitness`] and ask it.
//!
//! An identity is compared by the address of its allocation. A witness keeps that allocation (never the device), so an
//! address is not used again while anybody could still compare with it: a new device at the same place in memory, or on
//! the same file, is never mistaken for an old one.

use std::sync::{Arc, Weak};

/// Proof that a device exists. Owned by the device alone, and gone with it.
#[derive(Debug, Default)]
pub struct DeviceIdentity(Arc<()>);

impl DeviceIdentity {
    /// The identity of a device that is being made.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Something that recognises this device and does not keep it alive.
    #[must_use]
    pub fn witness(&self) -> DeviceWitness {
        DeviceWitness(Arc::downgrade(&self.0))
    }
}

/// Recognises a device without keeping it, its files or its lock.
#[derive(Clone, Debug)]
pub struct DeviceWitness(Weak<()>);

impl DeviceWitness {
    /// Whether the device was not dropped yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Whether `identity` is the one this witness was made from.
    #[must_use]
    pub fn recognises(&self, identity: &DeviceIdentity) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&identity.0))
    }
}

#[cfg(test)]
mod tests {
    use super::DeviceIdentity;

    #[test]
    fn a_witness_knows_its_device_and_when_it_is_gone() {
        let first = DeviceIdentity::new();
        let second = DeviceIdentity::new();
        let witness = first.witness();
        assert!(witness.recognises(&first) && !witness.recognises(&second));
        drop(first);
        assert!(!witness.is_alive());
        assert!(second.witness().is_alive());
    }
}
