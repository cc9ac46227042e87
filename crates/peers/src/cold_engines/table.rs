//! What the cold comparison showed, in Markdown: medians over the rounds, and medians of the rounds' ratios.

use super::process::{Reached, Way};
use super::{Arguments, Loaded};
use crate::bounds::ReadRate;
use crate::memory::median;

/// A distribution and a way to read, as rows have them.
type Row<'r> = (&'r str, Way);

pub fn print(arguments: &Arguments, stores: &[Loaded], fio: &[ReadRate], load_before: &str) {
    let limited = match arguments.no_limit {
        true => "**without a limit of memory: page caches made the difference**".to_owned(),
        false => format!("{} MiB of memory each, page cache included", arguments.memory_mib),
    };
    println!(
        "{} keys, values of {} bytes, {limited}, {} rounds of {} s, load of the machine {load_before} before and {} after.",
        arguments.keys(),
        arguments.value_bytes,
        arguments.rounds,
        arguments.seconds,
        crate::wal::load_average()
    );
    if !fio.is_empty() {
        let of = |figure: fn(&ReadRate) -> f64| median(fio.iter().map(figure).collect());
        println!(
            "fio: {:.0} random blocks of 4 KiB a second at depth {}, {:.1} us of processor time each.",
            of(|rate| rate.reads),
            arguments.depth,
            of(|rate| rate.cpu_us)
        );
    }
    println!("\n| store | loaded in | on the device | largest memory |\n|---|---|---|---|");
    for store in stores {
        println!(
            "| {} | {:.1} s | {} MiB | {} MiB |",
            store.name,
            store.seconds,
            store.disk_bytes >> 20,
            store.peak_bytes >> 20
        );
    }
    for (name, failure) in stores.iter().filter_map(|store| Some((store.name, store.failure.as_ref()?))) {
        println!("\n**{name} was not measured to the end**: {failure}");
    }
    println!(
        "\n| keys | store | threads | keys of a call | keys/s | processor us per key | device bytes per key |"
    );
    println!("|---|---|---|---|---|---|---|");
    for distribution in distributions(stores) {
        for store in stores {
            for row in rows(store).filter(|row| row.0 == distribution) {
                let of = |figure: fn(&Reached) -> f64| median(figures(store, row, figure));
                println!(
                    "| {distribution} | {} | {} | {} | {:.0} | {:.1} | {:.0} |",
                    store.name,
                    row.1.threads,
                    row.1.batch,
                    of(|reached| reached.keys_per_second),
                    of(|reached| reached.cpu_us_per_key),
                    of(|reached| reached.device_bytes_per_key)
                );
            }
        }
    }
    print_ratios(stores);
}

/// How many times what each peer reaches its best way ours reaches in its own.
fn print_ratios(stores: &[Loaded]) {
    let Some(ours) = stores.iter().find(|store| store.key == "oxifaster") else { return };
    let peers: Vec<&Loaded> = stores.iter().filter(|store| store.key != ours.key).collect();
    if peers.is_empty() {
        return;
    }
    println!(
        "\nHow many times as many keys a second oxifaster reads / how many times as much processor time the peer takes for a"
    );
    println!("key, each in the way in which it reads the most keys:\n");
    println!("| keys | {} |", peers.iter().map(|peer| peer.name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(peers.len()));
    for distribution in distributions(stores) {
        let mut cells = Vec::new();
        for peer in &peers {
            let (Some(our_way), Some(their_way)) = (best(ours, distribution), best(peer, distribution))
            else {
                cells.push("-".to_owned());
                continue;
            };
            let ratio = |upper: Vec<f64>, lower: Vec<f64>| {
                median(upper.iter().zip(&lower).map(|(upper, lower)| upper / lower).collect())
            };
            let keys = ratio(
                figures(ours, our_way, |reached| reached.keys_per_second),
                figures(peer, their_way, |reached| reached.keys_per_second),
            );
            let cpu = ratio(
                figures(peer, their_way, |reached| reached.cpu_us_per_key),
                figures(ours, our_way, |reached| reached.cpu_us_per_key),
            );
            cells.push(format!("{keys:.2} / {cpu:.1}"));
        }
        println!("| {distribution} | {} |", cells.join(" | "));
    }
}

fn rows(store: &Loaded) -> impl Iterator<Item = Row<'_>> {
    store.rounds.iter().take(1).flatten().map(|reached| (reached.distribution.as_str(), reached.way))
}

fn distributions(stores: &[Loaded]) -> Vec<&str> {
    let mut names: Vec<&str> = stores.iter().flat_map(rows).map(|(distribution, _)| distribution).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The figures of a row, by round.
fn figures(store: &Loaded, row: Row<'_>, figure: impl Fn(&Reached) -> f64) -> Vec<f64> {
    let is_of_row = |reached: &&Reached| (reached.distribution.as_str(), reached.way) == row;
    store.rounds.iter().flatten().filter(is_of_row).map(figure).collect()
}

/// The way in which a store reads the most keys.
fn best<'s>(store: &'s Loaded, distribution: &str) -> Option<Row<'s>> {
    let rate = |row: &Row<'_>| median(figures(store, *row, |reached| reached.keys_per_second));
    rows(store).filter(|row| row.0 == distribution).max_by(|one, other| rate(one).total_cmp(&rate(other)))
}
