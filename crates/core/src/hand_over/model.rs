//! The production hand-over under loom: every interleaving of few threads, and the mistakes that must show.
//!
//! A lost wake-up leaves a thread that waits for ever; loom reports it as a deadlock. (Its own `Arc` can't be dropped after that
//! report, so shared things are in std's.)
//!
//! | model | proves |
//! |---|---|
//! | `posts_and_close` | every job is taken exactly once or given back, and the taker ends after a close |
//! | `listens_elsewhere` | a taker that waits elsewhere is woken there |
//! | `send_and_poll` | a future that waits gets its value |
//! | `moved_future` | the waker of the last poll is woken, whichever task polled before |
//! | `dropped_sender` | a future whose sender goes without a value is told so |
//! | `many_senders` | a future that waits gets the values of all senders, and is told of one that has none |
//! | `dropped_future` | a value that nobody waits for any more is dropped, once |

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::thread;

use super::{Abandoned, Mailbox, Replies, channel};
use crate::mutation::{Mutation, Task, model_with};

const PREEMPTIONS: usize = 4;

/// Runs a future on a task of its own.
fn block_on<T>(reply: impl Future<Output = T>) -> T {
    let task = Task::new();
    let waker = Waker::from(Arc::clone(&task));
    let mut reply = pin!(reply);
    loop {
        match reply.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => task.sleep(),
        }
    }
}

fn take_all(mailbox: &Mailbox<u32>) -> Vec<u32> {
    let mut taken = vec![];
    while let Some(jobs) = mailbox.take(true) {
        taken.extend(jobs);
    }
    taken
}

/// Two threads post, one of them closes, the third takes until the end.
fn posts_and_close() {
    let mailbox = Arc::new(Mailbox::new());
    let taker = thread::spawn({
        let mailbox = Arc::clone(&mailbox);
        move || take_all(&mailbox)
    });
    let poster = thread::spawn({
        let mailbox = Arc::clone(&mailbox);
        move || mailbox.post(1).err()
    });
    let mut jobs: Vec<u32> = mailbox.post(2).err().into_iter().collect();
    mailbox.close();
    jobs.extend(poster.join().unwrap());
    jobs.extend(taker.join().unwrap());
    // What was accepted behind the taker's end is lost.
    jobs.sort_unstable();
    assert_eq!(jobs, [1, 2], "model: a job was lost or doubled");
}

/// The taker looks without waiting in between, as the reactor does while reads are under way.
fn looks_in_between() {
    let mailbox = Arc::new(Mailbox::new());
    let taker = thread::spawn({
        let mailbox = Arc::clone(&mailbox);
        move || {
            let mut taken = mailbox.take(false).unwrap_or_default();
            taken.extend(take_all(&mailbox));
            taken
        }
    });
    for job in [1, 2] {
        assert_eq!(mailbox.post(job), Ok(false), "model: an open mailbox refused a job");
    }
    mailbox.close();
    assert_eq!(taker.join().unwrap(), [1, 2], "model: a job was lost, doubled or overtaken");
}

/// The taker waits for a task to be woken, as the reactor waits for its queue.
fn listens_elsewhere() {
    let (mailbox, task) = (Arc::new(Mailbox::new()), Task::new());
    let poster = thread::spawn({
        let (mailbox, task) = (Arc::clone(&mailbox), Arc::clone(&task));
        move || {
            for job in [1, 2] {
                if mailbox.post(job).expect("model: an open mailbox refused a job") {
                    Waker::from(Arc::clone(&task)).wake();
                }
            }
        }
    });
    let mut taken = vec![];
    while taken.len() < 2 {
        match mailbox.take_or_listen() {
            Some(jobs) if jobs.is_empty() => task.sleep(),
            jobs => taken.extend(jobs.unwrap_or_default()),
        }
    }
    poster.join().unwrap();
    assert_eq!(taken, [1, 2], "model: a job was lost, doubled or overtaken");
}

fn send_and_poll() {
    let (sender, reply) = channel();
    let other = thread::spawn(move || sender.send(7));
    assert_eq!(block_on(reply), Ok(7), "model: another value");
    other.join().unwrap();
}

fn moved_future() {
    let (sender, mut reply) = channel();
    let other = thread::spawn(move || sender.send(7));
    let former = Waker::from(Task::new());
    match pin!(&mut reply).poll(&mut Context::from_waker(&former)) {
        Poll::Ready(value) => assert_eq!(value, Ok(7), "model: another value"),
        Poll::Pending => assert_eq!(block_on(reply), Ok(7), "model: another value"),
    }
    other.join().unwrap();
}

fn dropped_sender() {
    let (sender, reply) = channel::<u32>();
    let other = thread::spawn(move || drop(sender));
    assert_eq!(block_on(reply), Err(Abandoned), "model: a value out of nothing");
    other.join().unwrap();
}

fn many_senders() {
    let mut replies = Replies::new();
    let threads: Vec<_> = [Some(3), None]
        .map(|value| {
            let sender = replies.sender();
            thread::spawn(move || match value {
                Some(value) => sender.send(value),
                None => drop(sender),
            })
        })
        .into();
    let mut answers = [block_on(replies.next()), block_on(replies.next())];
    answers.sort_by_key(Result::is_ok);
    assert_eq!(answers, [Err(Abandoned), Ok(3)], "model: an answer was lost or doubled");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// The one reference to the value that is left at the end is this thread's own.
fn dropped_future() {
    let value = Arc::new(());
    let (sender, mut reply) = channel();
    let other = thread::spawn({
        let value = Arc::clone(&value);
        move || sender.send(value)
    });
    let waker = Waker::from(Task::new());
    let polled = pin!(&mut reply).poll(&mut Context::from_waker(&waker)).is_ready();
    drop(reply);
    other.join().unwrap();
    assert_eq!(
        Arc::strong_count(&value),
        1,
        "model: the value outlives both sides; it had arrived: {polled}"
    );
}

/// Runs a model as it is, and with each of the mistakes.
fn check(mistakes: &[Mutation], model: fn()) {
    model_with(mistakes, PREEMPTIONS, model);
}

#[test]
fn model_mailbox() {
    check(
        &[
            Mutation::MailboxPostIgnoresClose,
            Mutation::MailboxCloseWithoutNotify,
            Mutation::MailboxWaitsWithoutLook,
        ],
        posts_and_close,
    );
    check(&[Mutation::MailboxCloseWithoutNotify, Mutation::MailboxWaitsWithoutLook], looks_in_between);
}

#[test]
fn model_mailbox_listener() {
    check(&[Mutation::MailboxPostWithoutNotify, Mutation::MailboxWaitsWithoutLook], listens_elsewhere);
}

/// Without a close behind it, the post itself has to wake the taker.
#[test]
fn model_mailbox_post_wakes() {
    check(&[Mutation::MailboxPostWithoutNotify, Mutation::MailboxWaitsWithoutLook], || {
        let mailbox = Arc::new(Mailbox::new());
        let taker = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || mailbox.take(true)
        });
        assert_eq!(mailbox.post(1), Ok(false), "model: an open mailbox refused a job");
        assert_eq!(taker.join().unwrap(), Some(vec![1]), "model: the taker got something else");
    });
}

#[test]
fn model_reply() {
    check(&[Mutation::ReplySendWithoutWake, Mutation::ReplyWakerBehindLook], send_and_poll);
    check(&[Mutation::ReplyKeepsFirstWaker, Mutation::ReplySendWithoutWake], moved_future);
    check(&[Mutation::ReplyDropWithoutAnswer, Mutation::ReplySendWithoutWake], dropped_sender);
    check(&[], dropped_future);
    check(&[Mutation::RepliesSendWithoutWake, Mutation::RepliesWakerBehindLook], many_senders);
}
