//! The syncing thread: makes written commits durable and tells everybody. One sync covers all commits that are written.
//!
//! It also writes the metadata slot now and then (every [`KNOWN_EVERY_WORDS`], and when the log falls idle), so that the next open
//! walks over little, and so that damage of the last commit can be told from a torn write.

use std::sync::Arc;
use std::time::Duration;

use oxifaster_core::sync::canary;

use crate::shared::Shared;
use crate::transfer::sync;

/// Words of log behind the known commit of the metadata, at most, before it is written again.
const KNOWN_EVERY_WORDS: u64 = (64 << 20) / 8;

/// How long nothing is committed before a log counts as idle.
const IDLE_AFTER: Duration = Duration::from_millis(500);

/// The thread's life.
pub(crate) fn run(log: &Arc<Shared>) {
    let mut synced = false;
    loop {
        let stale = synced && log.facts.lock().facts.known.number != log.progress.standing().commit.number;
        let idle_after = (stale && log.progress.ended().is_none()).then_some(IDLE_AFTER);
        match log.progress.next_to_sync(idle_after) {
            Ok(None) => return,
            Ok(Some((placed, count))) => {
                if log
                    .progress
                    .ended()
                    .is_some_and(|ended| ended.kind() == oxifaster_core::ErrorKind::Poisoned)
                {
                    continue;
                }
                if canary::armed("log_acknowledge_before_sync") {
                    log.progress.durable_now(placed, count);
                    continue;
                }
                match sync(log.device.as_ref()) {
                    Err(error) if !canary::armed("log_ignore_sync_error") => log.poison(error.into()),
                    _ => {
                        synced = true;
                        let until = placed.commit.until;
                        log.progress.durable_now(placed, count);
                        let known = log.facts.lock().facts.known.until;
                        if until.saturating_sub(known) >= KNOWN_EVERY_WORDS {
                            remember(log);
                        }
                    }
                }
            }
            Err(()) => remember(log),
        }
    }
}

/// Writes the last durable commit to the metadata. A failure is no failure of anybody's commit.
fn remember(log: &Shared) {
    if let Err(error) = log.publish(1, |_| {}, |written| written) {
        tracing::warn!(%error, "the metadata of a log could not be brought up to date");
    }
}
