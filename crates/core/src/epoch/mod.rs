//! Epoch protection: who may still be looking at something that was taken away.
//!
//! Layer 1. Callers: `index` growth, `hlog` (frames, safe addresses), `store` and `log` (one participant per session, one
//! guard per operation). It knows nothing of what it protects.
//!
//! A [`Participant`] *enters* before it loads an address, a phase or a table pointer, and *leaves* when it has stopped
//! using what they led to. Whoever takes something away first unlinks it, then [`LightEpoch::bump`]s, and may reuse
//! it when the returned epoch [is safe](LightEpoch::is_safe). A participant between two guards protects nothing, so an
//! idle session stalls nobody.
//!
//! ```text
//! participant                                    bumper
//! r1  e = current                                b0  unlink (store a new head, a new phase, ..)
//! r2  slot = e            release                b1  heavy fence
//!     light fence                                b2  E = current; current = E + 1
//! r3  load head, use what it leads to            b3  scan: every slot is 0 or above E  =>  E is safe
//! r4  slot = 0            release                b4  reuse
//! ```
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `current` | bumpers, by `fetch_add` | entries, scans |
//! | `slot` of a participant | its participant alone | scans |
//! | `safe`, a monotone maximum | scans, by `fetch_max` | `is_safe` |
//! | registry of slots | register, drop, under its lock | scans, under its lock |
//!
//! # Why it holds
//!
//! 1. *Symmetric form.* Both fences are `SeqCst`, so they are totally ordered. If the light one comes first, the scan sees
//!    r2 or something later in that slot; and r1 can't have read b2 (a load before the first fence can't read
//!    a store behind the second), so the value it sees is at most E unless the participant has left since: it is waited
//!    for. If the heavy one comes first, r3 sees b0: the participant can't find what was unlinked.
//! 2. *Asymmetric form.* The light fence only keeps the compiler from exchanging r2 and r3. The heavy one is a
//!    `membarrier`: every running thread of the process passes a full fence at some instant between its call and
//!    its return (a thread that does not run passed one when it was switched out). If that instant is after r2, the
//!    slot is visible to the scan and r1, which is before it, can't have read b2. If it is before r2, r3 is behind the
//!    begin of the call and sees b0. Which of the two holds does not matter; one of them does.
//! 3. *A stale epoch is harmless.* A participant that was preempted between r1 and r2 stores an epoch that may be safe
//!    already. It entered behind those bumps, so by 1 or 2 it sees what they unlinked; for later bumps its
//!    slot is at most their epoch, so they wait for it: longer than they need to, never shorter.
//! 4. *Leaving publishes.* The scan's acquire load of a slot pairs with the release stores r4 **and r2**: a scan may find the
//!    value of a later entry and never see the zero between, and must still be behind everything before it. The
//!    maximum in `safe` hands that on to those who only read it.
//! 5. *A late registration.* Registering and scanning exclude each other. A slot the scan did not know was registered
//!    behind the scan, hence behind every bump the scan answers for, and its participant sees what they unlinked.
//! 6. *The scan answers only for bumps it can see.* It loads `current` (acquire) before the slots and declares at most
//!    `current - 1` safe: each of those bumps had its fence before.
//!
//! `model.rs` runs 1, 3, 4 and, with the interrupt modelled, 2 under loom; what rests on the kernel alone is that
//! `membarrier` does what 2 says. Which form holds is fixed when the epoch is made, for both sides at once.
//!
//! Where we depart from the papers: protection per operation instead of per session with refresh; slots belong to
//! participants instead of threads and have no maximum; the asymmetric fence.

mod drain;
mod fences;
#[cfg(loom)]
mod interrupt;
mod light_epoch;
#[cfg(all(loom, test))]
mod model;
mod participant;
mod registry;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use fences::FenceForm;
pub use light_epoch::{Epoch, LightEpoch};
pub use participant::{EpochGuard, Participant};
