//! `verify`: every block, every checksum, damage by address and by place in a file.

use oxifaster_core::hlog::metadata::LogMetadata;
use oxifaster_device::sync::clock;
use oxifaster_device::{ContentKind, MetadataArea};
use serde_json::{Map, Value};

use crate::arguments::VerifyArguments;
use crate::byte_size::Grouped;
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::pipeline::Progress;
use crate::progress_bar::ProgressLine;
use crate::report::{Figure, Report};
use crate::store_access::{StoreFolder, place_in_file};
use crate::store_failure::{device_failure, store_failure};
use crate::verification::{self, Damage, Verification};

pub(super) fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let folder = StoreFolder::to_read(&arguments.dir, arguments.device)?;
    let Some(metadata) = folder.metadata() else {
        return Err(Failure::new(FailureKind::NotAStore, "there is no store here"));
    };
    let loaded = MetadataArea::read(folder.device(), ContentKind::FasterKv)
        .map_err(|error| device_failure(&arguments.dir, &error))?;
    let damaged_slot = loaded.is_some_and(|loaded| loaded.damaged_copy);

    let started = clock::now();
    let progress = Progress::default();
    let bar = ProgressLine::new(Some(verification::log_bytes(metadata)), "blocks");
    let mut seen = 0;
    let found = verification::verify(folder.device(), metadata, |bytes| {
        progress.add(bytes - seen, (bytes - seen) / 4096);
        seen = bytes;
        bar.show(&progress);
    })
    .map_err(|error| store_failure(&arguments.dir, &error))?;
    bar.finish();

    let mut report = Report::default();
    report
        .add("command", "command", Figure::Text("verify".to_owned()))
        .add("folder", "folder", Figure::Text(arguments.dir.display().to_string()))
        .add("whole", "whole", Figure::Flag(found.damaged_blocks == 0 && !damaged_slot))
        .add("pages", "pages", Figure::Count(found.pages))
        .add("blocks of 4 KiB", "blocks", Figure::Count(found.blocks))
        .add("damaged blocks", "damaged_blocks", Figure::Count(found.damaged_blocks))
        .add("not checkable", "unchecked_blocks", Figure::Count(found.unchecked_blocks))
        .add("damaged metadata slot", "damaged_metadata_slot", Figure::Flag(damaged_slot))
        .add("begins at address", "begin_address", Figure::Text(metadata.begin.to_string()))
        .add(
            "consistent up to",
            "consistent_tail_address",
            Figure::Text(metadata.consistent_tail.to_string()),
        )
        .add("time", "seconds", Figure::Time(started.elapsed()));
    write(arguments, &report, &found)?;
    ending(arguments, metadata, &found, damaged_slot)
}

fn write(arguments: &VerifyArguments, report: &Report, found: &Verification) -> Result<(), Failure> {
    if arguments.output.json {
        let mut object = report.to_json();
        let damage = found.damage.iter().map(|damage| damage_json(arguments, damage));
        object.insert("damage".to_owned(), Value::Array(damage.collect()));
        return output::print_json(object);
    }
    let mut text = report.to_text();
    if !found.damage.is_empty() {
        text.push_str("\nDamage\n");
    }
    for damage in &found.damage {
        let (file, byte) = place_in_file(&arguments.dir, damage.address.byte_offset());
        text.push_str(&format!(
            "  address {}  {} at byte {byte}: {}\n",
            damage.address,
            file.display(),
            damage.kind
        ));
    }
    output::print(text.as_bytes())
}

fn damage_json(arguments: &VerifyArguments, damage: &Damage) -> Value {
    let (file, byte) = place_in_file(&arguments.dir, damage.address.byte_offset());
    let mut object = Map::new();
    object.insert("address".to_owned(), Value::from(damage.address.to_string()));
    object.insert("file".to_owned(), Value::from(file.display().to_string()));
    object.insert("byte".to_owned(), Value::from(byte));
    object.insert("what".to_owned(), Value::from(damage.kind.to_string()));
    Value::Object(object)
}

fn ending(
    arguments: &VerifyArguments,
    metadata: &LogMetadata,
    found: &Verification,
    damaged_slot: bool,
) -> Result<(), Failure> {
    let folder = arguments.dir.display();
    let damage = |what: String| Err(Failure::new(FailureKind::Damage, what));
    match found.damage.first() {
        Some(first) => damage(format!(
            "{} of {} blocks of the store in {folder} are damaged, the first one at address {}",
            Grouped(found.damaged_blocks),
            Grouped(found.blocks),
            first.address
        )),
        None if damaged_slot => damage(format!(
            "one of the two metadata slots of the store in {folder} is damaged; the other one is whole and counts, \
             and nothing up to address {} is lost; a power failure can do that, and the next write repairs it",
            metadata.consistent_tail
        )),
        None => Ok(()),
    }
}
