//! The two fences of epoch protection, cheap on entry and dear on a bump.
//!
//! Callers: `participant` (light), `light_epoch` (heavy). The argument is in the module header of `epoch`.

use oxifaster_device::os;
use oxifaster_device::sync::atomic::{Ordering, compiler_fence, fence};

use crate::mutation::{Mutation, planted};

/// How store-load order between an entry and a bump is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceForm {
    /// Entries pay a compiler fence; a bump makes the kernel run a fence on every core (`membarrier`).
    Asymmetric,
    /// Entries and bumps both run `fence(SeqCst)`.
    Symmetric,
}

impl FenceForm {
    /// The cheaper form that this process can rely on.
    pub(super) fn available() -> Self {
        if os::asymmetric_fence_available() { Self::Asymmetric } else { Self::Symmetric }
    }

    /// Between the store of an entry and the loads it protects. Pairs with [`FenceForm::heavy`].
    #[inline(always)]
    pub(super) fn light(self) {
        match self {
            Self::Asymmetric => {
                compiler_fence(Ordering::SeqCst);
                #[cfg(loom)]
                super::interrupt::poll();
            }
            Self::Symmetric => {
                if !planted(Mutation::EpochEntryWithoutFence) {
                    fence(Ordering::SeqCst);
                }
            }
        }
    }

    /// Between the stores that unlink something and the increment of the epoch. Pairs with [`FenceForm::light`].
    pub(super) fn heavy(self) {
        if planted(Mutation::EpochBumpWithoutFence) {
            return;
        }
        match self {
            #[cfg(not(loom))]
            Self::Asymmetric => os::heavy_fence(),
            #[cfg(loom)]
            Self::Asymmetric => super::interrupt::interrupt_all(),
            Self::Symmetric => fence(Ordering::SeqCst),
        }
    }
}
