//! What cores share, simulated: how far operations would scale on machines that are not at hand.
//!
//! The machine here has two cores, so nothing about sixty-four can be measured. But what an operation shares with other cores is
//! known (`docs/design/0010-hot-path.md` lists every line that is written), and what a shared line costs is known, too: it moves from core to
//! core, one hand-over at a time. This runs every core's operations as a series of accesses to lines in the order of time, under the
//! usual protocol: a line is written by its one owner or read by many, whoever lacks it waits until it has been handed over,
//! and a line is handed over once at a time. What an operation does by itself is time that was measured on one core.
//!
//! Left out: that cores share the memory's bandwidth, that a store waits in the store buffer and not in the core (so a
//! contended upsert is rather better than here), and that a compare-exchange may fail and be tried again (rather worse).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use oxifaster_workload::{Distribution, Keys, Prng};

const RECORD_BYTES: u64 = 24;
const LINE_BYTES: u64 = 64;
const PAGE_BYTES: u64 = 4 << 20;
/// Records that one reservation takes where space is taken in chunks.
const BULK: u64 = 32;
/// The simulated time, and the part of it in which caches warm up.
const END_PS: u64 = 3_000_000_000;
const WARM_UP_PS: u64 = END_PS / 5;
/// How long a core's own caches keep a line that it does not use: 16,000 lines, at a few for each of ten million operations a
/// second. Behind that a line comes from memory, which the time of one core contains.
const KEPT_PS: u64 = 500_000_000;

#[derive(clap::Args)]
pub struct Arguments {
    /// Numbers of cores.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    cores: Vec<u32>,
    /// Cores of a socket; more cores than that are on two.
    #[arg(long, default_value_t = 32)]
    socket_cores: u32,
    /// Nanoseconds until a line that another core of the socket has written is here.
    #[arg(long, default_value_t = 60)]
    transfer_ns: u64,
    /// The same from the other socket.
    #[arg(long, default_value_t = 140)]
    far_transfer_ns: u64,
    /// Keys in the store.
    #[arg(long, default_value_t = 20_000_000)]
    keys: u64,
}

/// What is measured: the time an operation takes by itself, and the lines it shares.
struct Workload {
    name: &'static str,
    /// Nanoseconds on one core, from the tables of `docs/performance.md`.
    own_ns: u64,
    kind: Kind,
    distribution: Distribution,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Read,
    /// Writes the record's line.
    Update,
    /// Writes tail, record and bucket; the tail once for so many records.
    Insert {
        per_reservation: u64,
    },
    /// Adds to one record that all cores use.
    HotCounter,
}

const WORKLOADS: [Workload; 9] = [
    Workload { name: "read, uniform", own_ns: 98, kind: Kind::Read, distribution: Distribution::Uniform },
    Workload { name: "upsert, uniform", own_ns: 96, kind: Kind::Update, distribution: Distribution::Uniform },
    Workload {
        name: "upsert batched, uniform",
        own_ns: 37,
        kind: Kind::Update,
        distribution: Distribution::Uniform,
    },
    Workload { name: "upsert, zipfian", own_ns: 86, kind: Kind::Update, distribution: Distribution::YCSB },
    Workload {
        name: "upsert batched, zipfian",
        own_ns: 29,
        kind: Kind::Update,
        distribution: Distribution::YCSB,
    },
    Workload {
        name: "insert",
        own_ns: 350,
        kind: Kind::Insert { per_reservation: 1 },
        distribution: Distribution::Uniform,
    },
    Workload {
        name: "insert batched, each at the tail",
        own_ns: 200,
        kind: Kind::Insert { per_reservation: 1 },
        distribution: Distribution::Uniform,
    },
    Workload {
        name: "insert batched, tail space in chunks",
        own_ns: 200,
        kind: Kind::Insert { per_reservation: BULK },
        distribution: Distribution::Uniform,
    },
    Workload {
        name: "fetch_add, one key",
        own_ns: 25,
        kind: Kind::HotCounter,
        distribution: Distribution::Uniform,
    },
];

pub fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if arguments.cores.iter().any(|&cores| cores == 0 || cores > 64) {
        return Err("--cores takes numbers from 1 to 64".into());
    }
    println!(
        "Simulated: million operations per second of all cores (share of linear); {} cores a socket, a line handed over \
         in {} ns, {} ns between sockets",
        arguments.socket_cores, arguments.transfer_ns, arguments.far_transfer_ns
    );
    let heads: Vec<String> = arguments.cores.iter().map(|cores| format!(" {cores} |")).collect();
    println!("\n| operation \\ cores |{}\n|---|{}", heads.concat(), "---|".repeat(heads.len()));
    for workload in &WORKLOADS {
        let cells: Vec<String> = arguments
            .cores
            .iter()
            .map(|&cores| {
                let mega = Simulation::new(arguments, workload, cores).run() as f64 / simulated_us();
                let linear = f64::from(cores) * 1000.0 / workload.own_ns as f64;
                format!(" {mega:.1} ({:.2}) |", mega / linear)
            })
            .collect();
        println!("| {} |{}", workload.name, cells.concat());
    }
    Ok(())
}

fn simulated_us() -> f64 {
    (END_PS - WARM_UP_PS) as f64 / 1e6
}

/// Where a line is.
#[derive(Clone, Copy, Default)]
struct Line {
    /// Cores that have it, a bit each.
    holders: u64,
    /// Whether its one holder has written it.
    written: bool,
    /// Until when it is being handed over.
    busy_until_ps: u64,
    /// When it was last used.
    used_ps: u64,
}

/// A line by what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Tail,
    Borders,
    Log(u64),
    Bucket(u64),
}

#[derive(Clone, Copy)]
enum Access {
    Read(Name),
    Write(Name),
    /// Time that nobody else notices.
    Own(u64),
}

struct Core {
    prng: Prng,
    steps: Vec<Access>,
    /// The place of the next record in space taken before, and how many more fit there.
    reserved: (u64, u64),
    done: u64,
}

struct Simulation<'a> {
    arguments: &'a Arguments,
    workload: &'a Workload,
    keys: Keys,
    lines: HashMap<Name, Line>,
    cores: Vec<Core>,
    tail: u64,
}

impl<'a> Simulation<'a> {
    fn new(arguments: &'a Arguments, workload: &'a Workload, cores: u32) -> Self {
        let core = |lane| Core { prng: Prng::lane(1, lane), steps: Vec::new(), reserved: (0, 0), done: 0 };
        Self {
            arguments,
            workload,
            keys: Keys::new(arguments.keys, workload.distribution),
            lines: HashMap::new(),
            cores: (0..u64::from(cores)).map(core).collect(),
            tail: arguments.keys * RECORD_BYTES,
        }
    }

    /// Operations completed behind the warm-up.
    fn run(mut self) -> u64 {
        let mut next: BinaryHeap<Reverse<(u64, usize)>> =
            (0..self.cores.len()).map(|core| Reverse((core as u64, core))).collect();
        while let Some(Reverse((now, core))) = next.pop() {
            if now >= END_PS {
                continue;
            }
            let Some(step) = self.cores[core].steps.pop() else {
                self.cores[core].done += u64::from(now >= WARM_UP_PS);
                self.start_operation(core);
                next.push(Reverse((now, core)));
                continue;
            };
            let then = match step {
                Access::Own(ps) => now + ps,
                Access::Read(name) => self.access(core, name, now, false),
                Access::Write(name) => self.access(core, name, now, true),
            };
            next.push(Reverse((then, core)));
        }
        self.cores.iter().map(|core| core.done).sum()
    }

    /// Lays out the accesses of the core's next operation, last one first.
    fn start_operation(&mut self, core: usize) {
        let key = self.keys.next(&mut self.cores[core].prng);
        let mut steps = vec![Access::Own(self.workload.own_ns * 1000)];
        match self.workload.kind {
            Kind::Read => {
                steps.push(Access::Read(Name::Log(line_of(key * RECORD_BYTES))));
                steps.push(Access::Read(Name::Borders));
            }
            Kind::Update => {
                steps.push(Access::Write(Name::Log(line_of(key * RECORD_BYTES))));
                steps.push(Access::Read(Name::Borders));
            }
            Kind::Insert { per_reservation } => self.insert(core, key, per_reservation, &mut steps),
            Kind::HotCounter => steps.push(Access::Write(Name::Log(0))),
        }
        self.cores[core].steps = steps;
    }

    fn insert(&mut self, core: usize, key: u64, per_reservation: u64, steps: &mut Vec<Access>) {
        let reserves = self.cores[core].reserved.1 == 0;
        if reserves {
            self.cores[core].reserved = (self.tail, per_reservation);
            let page = self.tail / PAGE_BYTES;
            self.tail += RECORD_BYTES * per_reservation;
            if self.tail / PAGE_BYTES > page {
                steps.push(Access::Write(Name::Borders));
            }
        }
        let (at, left) = self.cores[core].reserved;
        self.cores[core].reserved = (at + RECORD_BYTES, left - 1);
        // As many buckets as a table has for these keys at the load of its default.
        steps.push(Access::Write(Name::Bucket(key / 4)));
        let (first, last) = (line_of(at), line_of(at + RECORD_BYTES - 1));
        if last != first {
            steps.push(Access::Write(Name::Log(last)));
        }
        steps.push(Access::Write(Name::Log(first)));
        if reserves {
            steps.push(Access::Write(Name::Tail));
        }
        steps.push(Access::Read(Name::Borders));
    }

    /// When the core has the line, to read or to write it.
    fn access(&mut self, core: usize, name: Name, now: u64, write: bool) -> u64 {
        let socket_cores = self.arguments.socket_cores;
        let own_socket = sockets_cores(core as u32 / socket_cores, socket_cores);
        let line = self.lines.entry(name).or_default();
        if now > line.used_ps + KEPT_PS {
            *line = Line::default();
        }
        line.used_ps = line.used_ps.max(now);
        let own = 1_u64 << core;
        let others = line.holders & !own;
        let has_it = line.holders & own != 0 && (!write || others == 0);
        // What nobody has written comes from memory at the worst, and that is in the time of one core.
        if has_it || line.holders == 0 || !(write || line.written) {
            line.holders |= own;
            line.written |= write;
            return now;
        }
        // A writer waits for the farthest holder to let go, a reader for the nearest to answer.
        let far = if write { others & !own_socket != 0 } else { others & own_socket == 0 };
        let ns = if far { self.arguments.far_transfer_ns } else { self.arguments.transfer_ns };
        let done = now.max(line.busy_until_ps) + ns * 1000;
        line.busy_until_ps = done;
        line.holders = if write { own } else { line.holders | own };
        line.written = write;
        done
    }
}

fn line_of(byte: u64) -> u64 {
    byte / LINE_BYTES
}

/// A bit for each core of a socket.
fn sockets_cores(socket: u32, socket_cores: u32) -> u64 {
    let all = if socket_cores >= 64 { u64::MAX } else { (1 << socket_cores) - 1 };
    all.checked_shl(socket * socket_cores).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        Arguments {
            cores: Vec::new(),
            socket_cores: 32,
            transfer_ns: 60,
            far_transfer_ns: 140,
            keys: 1_000_000,
        }
    }

    fn mega(workload: &Workload, cores: u32) -> f64 {
        Simulation::new(&arguments(), workload, cores).run() as f64 / simulated_us()
    }

    #[test]
    fn what_shares_nothing_scales_linearly() {
        let (one, all) = (mega(&WORKLOADS[0], 1), mega(&WORKLOADS[0], 32));
        assert!((one - 1000.0 / 98.0).abs() < 0.1, "{one}");
        assert!(all > one * 31.0, "{all}");
    }

    #[test]
    fn one_counter_moves_once_per_transfer() {
        let eight = mega(&WORKLOADS[8], 8);
        assert!((eight - 1000.0 / 60.0).abs() < 0.2, "{eight}");
        let far = mega(&WORKLOADS[8], 64);
        assert!(far < eight && far > 1000.0 / 140.0, "{far}");
    }

    #[test]
    fn space_in_bulk_takes_the_tail_out_of_the_way() {
        let (single, bulk) = (mega(&WORKLOADS[6], 32), mega(&WORKLOADS[7], 32));
        assert!(single < 17.0, "the tail moves once per record: {single}");
        assert!(bulk > single * 5.0, "{bulk}");
    }
}
