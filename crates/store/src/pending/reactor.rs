//! The reactor: a thread that owns a device queue and performs searches for pending and asynchronous operations.
//!
//! Queues belong to threads (device contract), and those operations outlive the calls that start them: so they hand
//! their searches to this thread and get them back, finished, by a callback. Whoever loses interest loses nothing else:
//! the search finishes here and its result is dropped. While the thread waits for the device, a new search interrupts it:
//! otherwise few reads at a time would be done one after the other.
//!
//! A second thread, started when first needed, waits for room in the log on behalf of asynchronous updates.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use oxifaster_core::error::{Error, ErrorKind};
use oxifaster_core::hand_over::Mailbox;
use oxifaster_core::hlog::{HybridLog, Patience};
use oxifaster_core::sync::Mutex;
use oxifaster_core::sync::thread::{self, JoinHandle};
use oxifaster_device::{Completion, DeviceError, Interrupt, IoQueue, QueueOptions, Wait};

use super::Nesting;
use super::cold_search::{ColdFound, ColdSearch, SearchStep};

/// Called with the answer, or dropped without one when the thread that has it panics: then that is the answer.
type SearchReply = Box<dyn FnOnce(ColdSearch, Result<ColdFound, Error>) + Send>;
type RoomReply = Box<dyn FnOnce(Result<(), Error>) + Send>;
type Job = (ColdSearch, SearchReply);

/// The reactor's handle. Dropping it finishes what is under way and joins the threads.
pub(crate) struct Reactor {
    log: Arc<HybridLog>,
    searches: Arc<Mailbox<Job>>,
    /// Ends the wait of the searches' thread for its queue. The thread puts it here.
    interrupt: Arc<Mutex<Option<Interrupt>>>,
    rooms: Arc<Mailbox<(u64, RoomReply)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reactor")
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store was closed")
}

fn cannot_start(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "starting a thread for device reads").with_source(error)
}

impl Reactor {
    /// Starts the thread for searches, of which `reads_in_flight` are performed at once.
    pub(crate) fn start(log: &Arc<HybridLog>, reads_in_flight: usize) -> Result<Self, Error> {
        let searches = Arc::new(Mailbox::new());
        let interrupt = Arc::new(Mutex::new(None));
        let inbox = Inbox { searches: Arc::clone(&searches), interrupt: Arc::clone(&interrupt) };
        let own_log = Arc::clone(log);
        let options = QueueOptions { depth: reads_in_flight };
        let handle =
            thread::spawn("oxi-reactor", move || run(&own_log, &inbox, options)).map_err(cannot_start)?;
        Ok(Self {
            log: Arc::clone(log),
            searches,
            interrupt,
            rooms: Arc::new(Mailbox::new()),
            threads: Mutex::new(vec![handle]),
        })
    }

    /// Performs a search; `reply` gets it back, finished, on the reactor's thread.
    pub(crate) fn search(
        &self,
        search: ColdSearch,
        reply: impl FnOnce(ColdSearch, Result<ColdFound, Error>) + Send + 'static,
    ) {
        match self.searches.post((search, Box::new(reply))) {
            Ok(false) => {}
            Ok(true) => {
                let interrupt = self.interrupt.lock().clone();
                interrupt.iter().for_each(Interrupt::raise);
            }
            Err((search, reply)) => reply(search, Err(closed())),
        }
    }

    /// Makes room for a record of `words` words; `reply` is called when there is, on another thread.
    pub(crate) fn make_room(&self, words: u64, reply: impl FnOnce(Result<(), Error>) + Send + 'static) {
        if let Err((_, reply)) = self.rooms.post((words, Box::new(reply))) {
            reply(Err(closed()));
            return;
        }
        let mut threads = self.threads.lock();
        if threads.len() < 2 {
            let (inbox, log) = (Arc::clone(&self.rooms), Arc::clone(&self.log));
            let body = move || {
                let _closing = CloseOnEnd(&inbox);
                while let Some(jobs) = inbox.take(true) {
                    for (words, reply) in jobs {
                        reply(log.make_room(words));
                    }
                }
            };
            match thread::spawn("oxi-room", body) {
                Ok(handle) => threads.push(handle),
                Err(error) => {
                    let error = cannot_start(error);
                    for (_, reply) in self.rooms.take(false).unwrap_or_default() {
                        reply(Err(error.duplicate()));
                    }
                }
            }
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        if !self.log.is_at_home() {
            return;
        }
        self.searches.close();
        self.rooms.close();
        let current = std::thread::current().id();
        for handle in self.threads.lock().drain(..) {
            // A callback on one of these threads may hold the last reference to its session, and so to the store.
            if handle.thread().id() != current && handle.join().is_err() {
                tracing::error!("a reactor thread panicked");
            }
        }
    }
}

/// Searches under way.
struct Running<'a> {
    log: &'a HybridLog,
    /// Most of them that read the device at once.
    depth: usize,
    /// Those that read the device, by number.
    searches: HashMap<u64, Job>,
    next: u64,
    /// Those that have not begun, in their order: they hold no memory but their keys. At the front, some that there was no
    /// memory for.
    waiting: VecDeque<Job>,
}

/// What the thread for searches takes them from.
struct Inbox {
    searches: Arc<Mailbox<Job>>,
    interrupt: Arc<Mutex<Option<Interrupt>>>,
}

impl Inbox {
    fn open_queue(&self, log: &HybridLog, options: QueueOptions) -> Result<Box<dyn IoQueue>, DeviceError> {
        let mut queue = log.device().open_queue(options)?;
        *self.interrupt.lock() = queue.interrupt();
        Ok(queue)
    }

    /// Answers every search with the error that left the thread without a queue, until the store closes.
    fn refuse_all(&self, error: &Error) {
        while let Some(jobs) = self.searches.take(true) {
            jobs.into_iter().for_each(|(search, reply)| answer(reply, search, Err(error.duplicate())));
        }
    }
}

fn run(log: &HybridLog, inbox: &Inbox, options: QueueOptions) {
    let mut queue = match inbox.open_queue(log, options) {
        Ok(queue) => queue,
        Err(error) => return inbox.refuse_all(&error.into()),
    };
    let _closing = CloseOnEnd(&inbox.searches);
    let _nesting = Nesting::begin();
    let mut running =
        Running { log, depth: options.depth, searches: HashMap::new(), next: 0, waiting: VecDeque::new() };
    let mut completions = Vec::new();
    loop {
        running.start(queue.as_mut());
        // Whoever still waits can only go on when some of what is in flight has ended.
        let is_full = running.searches.len() >= options.depth || !running.waiting.is_empty();
        let jobs = if queue.in_flight() == 0 {
            // Nothing else to wait for; closed: the end.
            let Some(jobs) = inbox.searches.take(true) else { return };
            jobs
        } else if is_full {
            inbox.searches.take(false).unwrap_or_default()
        } else {
            // Closed: finish what is under way.
            inbox.searches.take_or_listen().unwrap_or_default()
        };
        // Only who has just found nothing is listened for, and may wait; or who could start nothing anyway.
        let wait = if jobs.is_empty() || is_full { Wait::ForOne } else { Wait::No };
        running.waiting.extend(jobs);
        if queue.in_flight() > 0 {
            match queue.reap(wait, &mut completions) {
                Ok(_) => {
                    completions.drain(..).for_each(|completion| running.complete(completion, queue.as_mut()))
                }
                Err(error) => {
                    // It would only say so again. What it still has is waited for by its drop.
                    running.fail_all(&error.into());
                    match inbox.open_queue(log, options) {
                        Ok(another) => queue = another,
                        Err(error) => {
                            let error = Error::from(error);
                            running.refuse_waiting(&error);
                            return inbox.refuse_all(&error);
                        }
                    }
                }
            }
        }
    }
}

/// A thread that is gone, by whatever way, accepts nothing; and what it had accepted is dropped, which is an answer to whoever waits
/// for it.
struct CloseOnEnd<'a, T>(&'a Mailbox<T>);

impl<T> Drop for CloseOnEnd<'_, T> {
    fn drop(&mut self) {
        self.0.close();
        drop(self.0.take(false));
    }
}

/// Gives a search back. A reply that panics (a waker of the user's executor may) must not take the others with it.
fn answer(reply: SearchReply, search: ColdSearch, result: Result<ColdFound, Error>) {
    if catch_unwind(AssertUnwindSafe(|| reply(search, result))).is_err() {
        tracing::error!("whoever waited for a device read panicked when it was told");
    }
}

impl Running<'_> {
    /// Starts what waits, as far as queue and memory have room for it. With nothing in flight, waits for memory.
    fn start(&mut self, queue: &mut dyn IoQueue) {
        while self.searches.len() < self.depth
            && let Some(job) = self.waiting.pop_front()
        {
            let patience = if self.searches.is_empty() { Patience::InLine } else { Patience::Now };
            let number = self.next;
            self.next += 1;
            if !self.advance(number, job, queue, patience) {
                return;
            }
        }
    }

    /// Goes on with a search until it waits for the device or is finished. False: there was no memory for it, and it is the
    /// first of those that wait now.
    fn advance(&mut self, number: u64, job: Job, queue: &mut dyn IoQueue, patience: Patience) -> bool {
        let (mut search, reply) = job;
        let result = match search.advance(self.log, patience) {
            Ok(SearchStep::Read) => {
                let requests =
                    search.read_mut().map(|read| read.requests(number * 2, self.log)).unwrap_or_default();
                let refused = requests.into_iter().find_map(|request| queue.submit(request).err());
                match refused {
                    None => {
                        self.searches.insert(number, (search, reply));
                        return true;
                    }
                    Some(error) => Err(error.into()),
                }
            }
            Ok(SearchStep::Later) => {
                self.waiting.push_front((search, reply));
                return false;
            }
            Ok(SearchStep::Found(found)) => Ok(found),
            Err(error) => Err(error),
        };
        answer(reply, search, result);
        true
    }

    fn complete(&mut self, completion: Completion, queue: &mut dyn IoQueue) {
        let number = completion.tag / 2;
        let Some((mut search, reply)) = self.searches.remove(&number) else { return };
        let mut done = false;
        if let Some(read) = search.read_mut() {
            match read.complete(completion) {
                Some(again) => {
                    if let Err(error) = queue.submit(again) {
                        return answer(reply, search, Err(error.into()));
                    }
                }
                None => done = read.is_done(),
            }
        }
        if done {
            self.advance(number, (search, reply), queue, Patience::Now);
        } else {
            self.searches.insert(number, (search, reply));
        }
    }

    fn fail_all(&mut self, error: &Error) {
        for (_, (search, reply)) in self.searches.drain() {
            answer(reply, search, Err(error.duplicate()));
        }
    }

    fn refuse_waiting(&mut self, error: &Error) {
        for (search, reply) in self.waiting.drain(..) {
            answer(reply, search, Err(error.duplicate()));
        }
    }
}
