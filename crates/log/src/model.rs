//! The production ring and the production waiting under loom: every interleaving of few threads, and the mistakes that must show.
//!
//! A lost wake-up leaves a thread that waits for ever; loom reports it as a deadlock.
//!
//! | model | proves |
//! |---|---|
//! | `append_against_walk` | a header that is seen is that of a complete entry (ring, rule 2) |
//! | `batch_against_walk` | of a batch all is seen, or nothing (rule 3) |
//! | `reuse` | words that are taken again are zero (rule 4) |
//! | `read_against_reuse` | a reader gets what was published, or knows that it did not (rule 5) |
//! | `commit_waiters` | a commit that is asked for happens, and whoever waits for it goes on |
//! | `commit_future` | the same for a future |
//! | `failed_commit` | every waiter of a failed commit is told |
//! | `commit_against_cut` | whoever asks for a commit while a suffix is dropped gets one |
//! | `metadata_against_cut` | metadata never hold the time lines of one moment beside the commit of another |
//! | `committed_tail` | a stream that has found nothing is woken by a commit, whenever that comes |
//! | `commit_against_appends` | a commit has words of its own, and covers and counts complete entries only |
//! | `end_against_unseal` | the ring of a log that has ended stays sealed, whoever unseals it |
//! | `idle_writer` | an append wakes a writer that sleeps until there is one |
//! | `room` | an appender that waits for room gets it |
//! | `end_of_an_uncommitted_tail` | a stream that waits is woken when the log ends, and has seen everything then |
//! | `uncommitted_tail` | a stream that waits for an entry is woken when it is complete, also when its words were reserved before |

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::thread;
use oxifaster_core::sync::Mutex;
use oxifaster_core::{Error, ErrorKind};

use crate::entry::{EntryKind, Seed};
use crate::facts::KnownCommit;
use crate::frontier::Frontier;
use crate::listeners::Listeners;
use crate::mutation::{Mutation, Task, model_with};
use crate::progress::Progress;
use crate::requests::{Change, CommitInfo, Cut, Placed, Sleep};
use crate::ring::LogRing;
use crate::sealing;
use crate::standing::{self, Standing};

const PREEMPTIONS: usize = 3;

/// Entries have two words: a header, and a payload with the same number.
const WORDS: u64 = 2;
const START: u64 = 8;

fn ring(capacity: u64) -> Arc<LogRing> {
    Arc::new(LogRing::new(capacity, START, 1 << 40, 0).unwrap())
}

fn fill(ring: &LogRing, at: u64, number: u64) {
    Seed(0).store(at, EntryKind::User, &number.to_le_bytes(), ring.room_for(at, 8));
}

fn append(ring: &LogRing, number: u64) -> u64 {
    let at = loop {
        match ring.reserve(WORDS) {
            Ok(place) => break place.start,
            Err(_) => thread::yield_now(),
        }
    };
    fill(ring, at, number);
    ring.publish(at, number);
    at
}

/// The header at `at`, and whether the payload behind it is complete.
fn look(ring: &LogRing, at: u64) -> u64 {
    let header = ring.header(at);
    if header != 0 {
        let mut bytes = Vec::new();
        assert!(ring.copy_out(at..at + WORDS, &mut bytes), "model: published words are in memory");
        let payload = u64::from_le_bytes(bytes[8..].try_into().unwrap());
        assert_eq!(payload, header, "model: the entry is not complete");
    }
    header
}

#[test]
fn model_append_against_walk() {
    model_with(&[Mutation::PublishRelaxed], PREEMPTIONS, || {
        let ring = ring(8);
        let appenders: Vec<_> = [1, 2]
            .map(|number| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || append(&ring, number))
            })
            .into_iter()
            .collect();
        let first = look(&ring, START);
        if first != 0 {
            look(&ring, START + WORDS);
        }
        let mut places: Vec<u64> = appenders.into_iter().map(|appender| appender.join().unwrap()).collect();
        places.sort_unstable();
        assert_eq!(places, [START, START + WORDS], "model: reservations overlap");
        assert_eq!(look(&ring, START) + look(&ring, START + WORDS), 3, "model: an entry is missing");
    });
}

#[test]
fn model_batch_against_walk() {
    model_with(&[Mutation::BatchPublishedForwards, Mutation::PublishRelaxed], PREEMPTIONS, || {
        let ring = ring(8);
        let appender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let at = ring.reserve(2 * WORDS).unwrap().start;
                fill(&ring, at, 1);
                fill(&ring, at + WORDS, 2);
                ring.publish_batch(&[(at, 1), (at + WORDS, 2)]);
            })
        };
        if look(&ring, START) != 0 {
            assert_ne!(look(&ring, START + WORDS), 0, "model: half of a batch");
        }
        appender.join().unwrap();
    });
}

#[test]
fn model_reuse() {
    let mistakes = [Mutation::LimitSeenRelaxed, Mutation::LimitStoredRelaxed, Mutation::ReleaseWithoutZeroes];
    model_with(&mistakes, PREEMPTIONS, || {
        let ring = ring(4);
        append(&ring, 1);
        append(&ring, 2);
        let releaser = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.release(START + WORDS))
        };
        let at = loop {
            match ring.reserve(WORDS) {
                Ok(place) => break place.start,
                Err(_) => thread::yield_now(),
            }
        };
        assert_eq!(at, START + 2 * WORDS);
        assert_eq!(ring.header(at), 0, "model: words were taken with what was in them");
        releaser.join().unwrap();
    });
}

#[test]
fn model_read_against_reuse() {
    let mistakes = [Mutation::CopyUnchecked, Mutation::CopyWithoutFence, Mutation::ReleaseUnannounced];
    model_with(&mistakes, PREEMPTIONS, || {
        let ring = ring(4);
        append(&ring, 1);
        append(&ring, 2);
        let reader = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let mut bytes = Vec::new();
                if ring.copy_out(START..START + WORDS, &mut bytes) {
                    let expected: Vec<u8> = [1_u64, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
                    assert_eq!(bytes, expected, "model: a reader took what was released");
                }
            })
        };
        ring.release(START + WORDS);
        append(&ring, 3);
        reader.join().unwrap();
    });
}

fn nothing_committed() -> KnownCommit {
    KnownCommit { until: START, ..KnownCommit::default() }
}

fn progress() -> Arc<Progress> {
    Arc::new(Progress::new(Standing::of_commit(nothing_committed()), 1))
}

/// What writer and syncer do for one commit up to `until`.
fn commit_once(progress: &Progress, until: u64) {
    loop {
        let work = progress.wait_for_work(Sleep::Long);
        if work.commit {
            break;
        }
    }
    let ticket = progress.take_changes(&mut Vec::new());
    let commit = Arc::new(KnownCommit { until, number: 1, ..nothing_committed() });
    let placed = Placed { commit, ticket };
    progress.placed(&placed);
    progress.hand_over(placed);
    if let Ok(Some((placed, count))) = progress.next_to_sync(None) {
        progress.durable_now(placed, count);
    }
}

fn wait(progress: &Progress, until: u64) -> Result<CommitInfo, Error> {
    let (goal, failures) = progress.request(until, None);
    progress.wait(goal, failures)
}

#[test]
fn model_commit_waiters() {
    let mistakes =
        [Mutation::DurableWithoutNotify, Mutation::WaitsWithoutLook, Mutation::RequestWithoutNotify];
    model_with(&mistakes, PREEMPTIONS, || {
        let progress = progress();
        let log = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || commit_once(&progress, START + 20))
        };
        let other = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || wait(&progress, START + 10))
        };
        let info = wait(&progress, START + 20).unwrap();
        assert_eq!(info.until.words(), START + 20, "model: not covered");
        assert!(other.join().unwrap().is_ok(), "model: the other waiter failed");
        log.join().unwrap();
    });
}

#[test]
fn model_commit_future() {
    let mistakes = [Mutation::WakerBehindLook, Mutation::RequestWithoutNotify];
    model_with(&mistakes, PREEMPTIONS, || {
        let progress = progress();
        let log = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || commit_once(&progress, START + 20))
        };
        let (goal, failures) = progress.request(START + 20, None);
        let task = Task::new();
        let waker = Waker::from(Arc::clone(&task));
        let mut id = None;
        let mut future = pin!(poll_fn(|context| progress.poll(goal, Some(failures), &mut id, context)));
        let info = loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(info) => break info,
                Poll::Pending => task.sleep(),
            }
        };
        assert_eq!(info.unwrap().number, 1, "model: another commit");
        log.join().unwrap();
    });
}

#[test]
fn model_failed_commit() {
    model_with(&[Mutation::FailureToldOnce, Mutation::WaitsWithoutLook], PREEMPTIONS, || {
        let progress = progress();
        // Both requests are made before the failure: it is theirs.
        let first = progress.request(START + 10, None);
        let second = progress.request(START + 20, None);
        let other = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || progress.wait(first.0, first.1).is_err())
        };
        let log = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || progress.fail(Error::new(ErrorKind::Io, "no")))
        };
        assert!(progress.wait(second.0, second.1).is_err(), "model: a failure counts as a commit");
        assert!(other.join().unwrap(), "model: a failure counts as a commit");
        log.join().unwrap();
    });
}

#[test]
fn model_commit_against_cut() {
    model_with(&[Mutation::CutForgetsRequests], PREEMPTIONS, || {
        let progress = progress();
        let writer = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || {
                let (mut cut, mut committed) = (false, false);
                while !(cut && committed) {
                    let work = progress.wait_for_work(Sleep::Long);
                    if work.commit {
                        // Behind the cut too, when that was first: a cookie is to be carried.
                        let until = progress.committed() + 10;
                        let ticket = progress.take_changes(&mut Vec::new());
                        let commit = Arc::new(KnownCommit { until, number: 1, ..nothing_committed() });
                        let placed = Placed { commit, ticket };
                        progress.placed(&placed);
                        progress.durable_now(placed, 1);
                        committed = true;
                    }
                    if work.cut.is_some() {
                        let standing = progress.standing();
                        progress.cut_made(Arc::clone(&standing.commit), Arc::clone(&standing.timeline));
                        progress.cut_done();
                        cut = true;
                    }
                }
            })
        };
        let committer = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || {
                let (goal, failures) = progress.request(START, Some(Change::Cookie(vec![1])));
                progress.wait(goal, failures)
            })
        };
        progress.cut(Cut { from: START, entries: 0, last_commit: None }).unwrap();
        assert!(committer.join().unwrap().is_ok(), "model: the commit failed");
        writer.join().unwrap();
        assert_eq!(progress.cuts(), 1, "model: no cut is in force");
    });
}

#[test]
fn model_metadata_against_cut() {
    model_with(&[Mutation::InstalledBehindLock], PREEMPTIONS, || {
        let progress = progress();
        // On the device: the number of the commit, and of the time line.
        let metadata = Arc::new(Mutex::new((0, 0)));
        let syncer = {
            let (progress, metadata) = (Arc::clone(&progress), Arc::clone(&metadata));
            thread::spawn(move || {
                let write = |metadata: &mut (u64, u64), commit: &Arc<KnownCommit>| {
                    metadata.0 = commit.number;
                    Ok(())
                };
                standing::publish(&metadata, &progress, write, |written| written)
            })
        };
        let cut = Arc::new(KnownCommit { number: 1, ..nothing_committed() });
        let write = |metadata: &mut (u64, u64), _: &Arc<KnownCommit>| {
            *metadata = (1, 1);
            Ok(())
        };
        let install = |written: Result<(), Error>| {
            let timeline = Arc::clone(&progress.standing().timeline);
            written.map(|()| progress.cut_made(cut, timeline))
        };
        standing::publish(&metadata, &progress, write, install).unwrap();
        progress.cut_done();
        syncer.join().unwrap().unwrap();
        assert_eq!(*metadata.lock(), (1, 1), "model: a new time line beside an old commit");
    });
}

#[test]
fn model_committed_tail() {
    model_with(&[Mutation::CommittedReadAgain], PREEMPTIONS, || {
        let progress = progress();
        let log = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || {
                let commit = Arc::new(KnownCommit { until: START + 20, number: 1, ..nothing_committed() });
                progress.durable_now(Placed { commit, ticket: 0 }, 1);
            })
        };
        let task = Task::new();
        let waker = Waker::from(Arc::clone(&task));
        let mut id = None;
        // What a stream does that stands at START: it looks, then it waits.
        while progress.committed() <= START {
            match progress.poll_beyond(START, &mut id, &mut Context::from_waker(&waker)) {
                Poll::Ready(outcome) => outcome.unwrap(),
                Poll::Pending => task.sleep(),
            }
        }
        log.join().unwrap();
    });
}

#[test]
fn model_room() {
    model_with(&[Mutation::RoomWithoutNotify], PREEMPTIONS, || {
        let (ring, progress) = (ring(4), progress());
        append(&ring, 1);
        append(&ring, 2);
        let log = {
            let (ring, progress) = (Arc::clone(&ring), Arc::clone(&progress));
            thread::spawn(move || {
                ring.release(START + WORDS);
                progress.room_made();
            })
        };
        if ring.reserve(WORDS).is_err() {
            progress.wait_for_room(|| ring.has_room(WORDS)).unwrap();
            assert!(ring.reserve(WORDS).is_ok(), "model: there is no room");
        }
        log.join().unwrap();
    });
}

/// What an append does for a stream that waits.
fn append_telling(ring: &LogRing, progress: &Progress, listeners: &Listeners, number: u64) {
    let place = ring.reserve(WORDS).unwrap();
    fill(ring, place.start, number);
    ring.publish(place.start, number);
    if place.listened {
        listeners.tell(ring, progress);
    }
}

/// What the writer does for streams, until it is stopped.
fn pass_on(ring: &LogRing, progress: &Progress, listeners: &Listeners) {
    let mut walked = START;
    loop {
        let work = progress.wait_for_work(Sleep::Long);
        if let Some(address) = work.pass {
            while walked < address {
                if ring.header(walked) == 0 {
                    thread::yield_now();
                } else {
                    walked += WORDS;
                }
            }
            ring.completed(walked);
            listeners.tell(ring, progress);
        }
        if work.stop {
            return;
        }
    }
}

#[test]
fn model_uncommitted_tail() {
    let mistakes = [Mutation::ListensBehindLook, Mutation::CopyUnderWayForgotten, Mutation::ListenedUnseen];
    model_with(&mistakes, PREEMPTIONS, || {
        let (ring, progress, listeners) = (ring(8), progress(), Arc::new(Listeners::default()));
        let appender = {
            let (ring, progress, listeners) =
                (Arc::clone(&ring), Arc::clone(&progress), Arc::clone(&listeners));
            thread::spawn(move || append_telling(&ring, &progress, &listeners, 1))
        };
        let writer = {
            let (ring, progress, listeners) =
                (Arc::clone(&ring), Arc::clone(&progress), Arc::clone(&listeners));
            thread::spawn(move || pass_on(&ring, &progress, &listeners))
        };
        let task = Task::new();
        let waker = Waker::from(Arc::clone(&task));
        let mut id = None;
        while listeners.poll(&ring, &progress, START, &mut id, &waker).is_pending() {
            task.sleep();
        }
        look(&ring, START);
        progress.stop();
        appender.join().unwrap();
        writer.join().unwrap();
        assert!(!ring.reserve(WORDS).unwrap().listened, "model: the bit is set and nobody waits");
    });
}

#[test]
fn model_end_of_an_uncommitted_tail() {
    model_with(&[Mutation::ToldNobody, Mutation::EndWithoutLook], PREEMPTIONS, || {
        let (ring, progress, listeners) = (ring(8), progress(), Arc::new(Listeners::default()));
        let closer = {
            let (ring, progress, listeners) =
                (Arc::clone(&ring), Arc::clone(&progress), Arc::clone(&listeners));
            thread::spawn(move || {
                append_telling(&ring, &progress, &listeners, 1);
                ring.seal();
                progress.end(Error::new(ErrorKind::Closed, "closed"));
                listeners.tell(&ring, &progress);
            })
        };
        let task = Task::new();
        let waker = Waker::from(Arc::clone(&task));
        let (mut id, mut at) = (None, START);
        let end = loop {
            match listeners.poll(&ring, &progress, at, &mut id, &waker) {
                Poll::Ready(Ok(())) => {
                    look(&ring, at);
                    at += WORDS;
                }
                Poll::Ready(Err(end)) => break end,
                Poll::Pending => task.sleep(),
            }
        };
        assert_eq!(end.kind(), ErrorKind::Closed, "model: another end");
        assert_eq!(at, START + WORDS, "model: an entry that was appended before the end is missing");
        closer.join().unwrap();
    });
}

/// An entry with a real header, as the writer meets it.
fn append_entry(ring: &LogRing, number: u64) -> u64 {
    let at = ring.reserve(WORDS).unwrap().start;
    let header = Seed(0).store(at, EntryKind::User, &number.to_le_bytes(), ring.room_for(at, 8));
    ring.publish(at, header.encode());
    at
}

#[test]
fn model_commit_against_appends() {
    const BLOCK: u64 = 8;
    model_with(&[Mutation::CommitOverOpenAppend, Mutation::AlignedWithoutExchange], PREEMPTIONS, || {
        let ring = ring(32);
        let appenders: Vec<_> = [1, 2]
            .map(|number| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || append_entry(&ring, number))
            })
            .into_iter()
            .collect();
        // What the writer does for a commit.
        let mut front = Frontier { walked: START, entries: 0 };
        let place = ring.reserve_aligned(1, BLOCK).unwrap();
        front.pass(&ring, place.start);
        let below = front.entries;
        assert_eq!(place.end % BLOCK, 0, "model: a commit does not end a block");
        let header = Seed(0).store(place.start, EntryKind::Commit, &[], ring.room_for(place.start, 0));
        ring.publish(place.start, header.encode());
        let mut at = START;
        while at < place.start {
            assert_ne!(ring.header(at), 0, "model: a commit covers an entry that is not complete");
            let mut bytes = Vec::new();
            assert!(ring.copy_out(at + 1..at + WORDS, &mut bytes), "model: the entry is in memory");
            assert_ne!(bytes, [0; 8], "model: a commit covers a payload that is not complete");
            at += WORDS;
        }
        let places: Vec<u64> = appenders.into_iter().map(|appender| appender.join().unwrap()).collect();
        let counted = places.iter().filter(|at| **at < place.start).count() as u64;
        assert_eq!(below, counted, "model: a commit counts other entries than those below it");
        assert!(
            places.iter().all(|at| *at + WORDS <= place.start || *at >= place.end),
            "model: an entry lies in the words of a commit"
        );
    });
}

#[test]
fn model_end_against_unseal() {
    model_with(&[Mutation::SealedBeforeOnly], PREEMPTIONS, || {
        let (ring, progress) = (ring(8), progress());
        ring.seal();
        let poisoner = {
            let (ring, progress) = (Arc::clone(&ring), Arc::clone(&progress));
            thread::spawn(move || sealing::end(&ring, &progress, Error::new(ErrorKind::Poisoned, "no")))
        };
        // What ends a cut.
        sealing::unseal(&ring, &progress);
        poisoner.join().unwrap();
        assert!(ring.is_sealed(), "model: a log that has ended takes entries");
    });
}

#[test]
fn model_idle_writer() {
    let mistakes = [Mutation::WriterSleepsUnheard, Mutation::ToldNobody, Mutation::ListenedUnseen];
    model_with(&mistakes, PREEMPTIONS, || {
        let (ring, progress, listeners) = (ring(8), progress(), Arc::new(Listeners::default()));
        let appender = {
            let (ring, progress, listeners) =
                (Arc::clone(&ring), Arc::clone(&progress), Arc::clone(&listeners));
            thread::spawn(move || append_telling(&ring, &progress, &listeners, 1))
        };
        // What the writer does when it has nothing to commit.
        if listeners.listen_for_writer(&ring) <= START {
            assert!(progress.wait_for_work(Sleep::Idle).awake, "model: other work");
        }
        assert_eq!(ring.tail(), START + WORDS, "model: awake for nothing");
        appender.join().unwrap();
    });
}
