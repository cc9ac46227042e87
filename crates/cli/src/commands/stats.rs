//! `stats`: what is in a store, how large it is, what opening it took, and what all runs of this program did to it.

use oxifaster_device::StorageDevice;

use super::figures;
use crate::arguments::StatsArguments;
use crate::failure::Failure;
use crate::memory_plan::MemoryPlan;
use crate::output;
use crate::report::{Figure, Report};
use crate::store_access::{Contents, Store, StoreFolder, StoredValue};
use crate::totals::Totals;

pub(super) fn run(arguments: &StatsArguments) -> Result<(), Failure> {
    let folder = StoreFolder::to_read(&arguments.dir, arguments.device)?;
    let plan = folder.plan_memory(arguments.memory.0, 1, 0, false)?;
    let mut report = Report::default();
    report.add("command", "command", Figure::Text("stats".to_owned())).add(
        "folder",
        "folder",
        Figure::Text(arguments.dir.display().to_string()),
    );
    match folder.contents()? {
        Some(Contents::Counts) => describe(&mut report, &folder.open::<u64>(&plan)?, &plan)?,
        _ => describe(&mut report, &folder.open::<Vec<u8>>(&plan)?, &plan)?,
    }
    if arguments.output.json {
        output::print_json(report.to_json())
    } else {
        output::print(report.to_text().as_bytes())
    }
}

fn describe<V: StoredValue>(report: &mut Report, store: &Store<V>, plan: &MemoryPlan) -> Result<(), Failure> {
    let opened = store.kv().recovery_report();
    let layout = store.kv().log().layout();
    let space = store.kv().device().space_use().ok();
    report
        .add("holds", "contents", Figure::Text(V::CONTENTS.name().to_owned()))
        .section("Log", "log")
        .add("begins at address", "begin_address", Figure::Text(opened.begin.to_string()))
        .add("consistent up to", "consistent_tail_address", Figure::Text(opened.consistent_tail.to_string()))
        .add("closed cleanly", "closed_cleanly", Figure::Flag(opened.was_closed))
        .add("page size", "page_bytes", Figure::Bytes(layout.page_bytes()))
        .add("records", "records", Figure::Count(opened.records))
        .add("  deletions among them", "tombstones", Figure::Count(opened.tombstones))
        .add("  never reachable", "invalid_records", Figure::Count(opened.invalid_records))
        .add("pages behind the end", "pages_behind", Figure::Count(opened.pages_behind))
        .add("damaged metadata slot", "damaged_metadata_slot", Figure::Flag(opened.damaged_metadata_slot))
        .add("apparent size", "apparent_bytes", Figure::MaybeBytes(space.map(|space| space.end_offset)))
        .section("Opening", "opening")
        .add("pages read and checked", "pages", Figure::Count(opened.pages))
        .add("bytes read and checked", "bytes", Figure::Bytes(opened.bytes))
        .add("pages kept in memory", "pages_in_memory", Figure::Count(opened.pages_in_memory))
        .add("time", "seconds", Figure::Time(opened.duration));
    let statistics = store.statistics();
    figures::store_section(report, store, &statistics);
    let totals = Totals::of(store.folder());
    report.section("Runs of this program", "totals").add("runs", "runs", Figure::Count(totals.runs));
    figures::operations_section(report, "Operations of these runs", &totals.sum);
    figures::device_section(report, "Device in these runs", &totals.sum);
    figures::memory_section(report, plan, &statistics);
    store.close()
}
