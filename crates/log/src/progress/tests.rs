//! Requests against failures, step by step.

use super::*;

/// A commit is being synced when the next one fails to be written. That the first becomes durable must not hide the failure: a
/// later request has nothing new to place, and only a retry can help it.
#[test]
fn a_failure_outlives_the_sync_of_an_earlier_commit() {
    let commit = |until| Arc::new(KnownCommit { until, ..KnownCommit::default() });
    let progress = Progress::new(Standing::of_commit(KnownCommit { until: 8, ..KnownCommit::default() }), 4);
    let placed = [16, 24].map(|until| {
        progress.request(until, None);
        let placed = Placed { commit: commit(until), ticket: 0 };
        progress.placed(&placed);
        placed
    });
    let soon = || Sleep::Until(clock::now() + Duration::from_millis(20));
    assert!(progress.wait_for_work(soon()).due, "both commits are placed");
    let [first, _second] = placed;
    progress.hand_over(first.clone());
    progress.fail(Error::new(ErrorKind::Io, "the second can't be written"));
    progress.durable_now(first, 1);
    progress.request(20, None);
    assert!(progress.wait_for_work(soon()).retry);
    // Nor does it help that truncation makes room in memory.
    progress.room_made();
    progress.request(20, None);
    assert!(progress.wait_for_work(soon()).retry, "nobody writes the second commit again");
    progress.blocks_written();
    progress.request(20, None);
    assert!(!progress.wait_for_work(soon()).retry);
}
