//! Syncs one after the other, and none after a failed one.
//!
//! The kernel reports a failed write-back once per open file. Were two syncs to run at once, one could get the error and the
//! other, for the same lost blocks, a success. Hence the gate: a sync holds it from looking at the poison to setting it.

use crate::error::{DeviceError, DeviceErrorKind};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
pub(super) struct SyncGate {
    /// What the first failed sync said. The mutex is held during a sync.
    poison: Mutex<Option<String>>,
    /// Whether `poison` is set, for writers, which must not wait for a running sync. Release pairs with their acquire.
    poisoned: AtomicBool,
}

impl SyncGate {
    /// Refuses writes after a failed sync.
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        if self.poisoned.load(Ordering::Acquire) {
            return refuse(self.poison.lock().as_deref());
        }
        Ok(())
    }

    /// Runs a sync; a failure poisons the device, and its error says that it was a sync.
    pub(super) fn run(&self, sync: impl FnOnce() -> Result<(), DeviceError>) -> Result<(), DeviceError> {
        let mut poison = self.poison.lock();
        if poison.is_some() {
            return refuse(poison.as_deref());
        }
        sync().map_err(DeviceError::of_sync).inspect_err(|error| {
            tracing::error!(%error, "a sync failed; nothing more is written to this device");
            *poison = Some(error.to_string());
            self.poisoned.store(true, Ordering::Release);
        })
    }
}

fn refuse(first: Option<&str>) -> Result<(), DeviceError> {
    let first = first.unwrap_or("no message");
    Err(DeviceError::new(
        DeviceErrorKind::Poisoned,
        format!("an earlier sync failed ({first}); what was written since the last good one may be lost"),
    ))
}

#[cfg(test)]
mod tests {
    use super::SyncGate;
    use crate::error::{DeviceError, DeviceErrorKind};

    #[test]
    fn a_failed_sync_poisons_for_ever() {
        let gate = SyncGate::default();
        gate.run(|| Ok(())).unwrap();
        gate.check().unwrap();
        let failed = gate.run(|| Err(DeviceError::new(DeviceErrorKind::Io, "the disk is gone"))).unwrap_err();
        assert_eq!((failed.kind(), failed.is_failed_sync()), (DeviceErrorKind::Io, true));
        for refused in [gate.check(), gate.run(|| Ok(()))] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), DeviceErrorKind::Poisoned);
            assert!(refused.to_string().contains("the disk is gone"));
        }
    }
}
