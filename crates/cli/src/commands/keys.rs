//! `get` and `delete`: single keys of a store of records or of counts.

use std::ffi::OsString;

use oxifaster_store::Statistics;
use serde_json::{Map, Value};

use super::figures;
use crate::arguments::KeyArguments;
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::report::Report;
use crate::store_access::{Contents, Store, StoreFolder, StoreSession, StoredValue};

/// What is done to each key. Returns the value that the key has, or had.
type KeyOperation<V> = fn(&mut StoreSession<V>, &[u8]) -> Result<Option<V>, Failure>;

/// Keys with their values, as bytes for people.
type Found = Vec<(Vec<u8>, Vec<u8>)>;

pub(super) fn get(arguments: &KeyArguments) -> Result<(), Failure> {
    let folder = StoreFolder::to_read(&arguments.dir, arguments.device)?;
    let outcome = on_keys(folder, arguments, StoreSession::<Vec<u8>>::read, StoreSession::<u64>::read)?;
    if arguments.output.json {
        output::print_json(outcome.to_json("get", "found"))?;
    } else {
        let mut lines = Vec::new();
        for (key, value) in &outcome.found {
            lines.extend_from_slice(key);
            lines.push(b'\t');
            lines.extend_from_slice(value);
            lines.push(b'\n');
        }
        output::print(&lines)?;
    }
    outcome.ending()
}

pub(super) fn delete(arguments: &KeyArguments) -> Result<(), Failure> {
    let folder = StoreFolder::existing(&arguments.dir, arguments.device)?;
    let outcome = on_keys(folder, arguments, StoreSession::<Vec<u8>>::remove, StoreSession::<u64>::remove)?;
    if arguments.output.json {
        output::print_json(outcome.to_json("delete", "deleted"))?;
    }
    outcome.ending()
}

struct KeysOutcome {
    found: Found,
    missing: Vec<Vec<u8>>,
    statistics: Statistics,
}

impl KeysOutcome {
    fn to_json(&self, command: &str, found_key: &str) -> Map<String, Value> {
        let found = self.found.iter().map(|(key, value)| {
            let mut entry = Map::new();
            output::insert_bytes(&mut entry, "key", key);
            output::insert_bytes(&mut entry, "value", value);
            Value::Object(entry)
        });
        let mut object = Map::new();
        object.insert("command".to_owned(), Value::from(command));
        object.insert(found_key.to_owned(), Value::Array(found.collect()));
        let missing = self.missing.iter().map(|key| match std::str::from_utf8(key) {
            Ok(text) => Value::from(text),
            Err(_) => {
                let mut entry = Map::new();
                output::insert_bytes(&mut entry, "key", key);
                Value::Object(entry)
            }
        });
        object.insert("missing".to_owned(), Value::Array(missing.collect()));
        let mut report = Report::default();
        figures::operations_section(&mut report, "Operations of this run", &self.statistics);
        figures::device_section(&mut report, "Device", &self.statistics);
        object.extend(report.to_json());
        object
    }

    fn ending(&self) -> Result<(), Failure> {
        let Some(first) = self.missing.first() else { return Ok(()) };
        let others = self.missing.len() - 1;
        let first =
            std::str::from_utf8(first).map_or_else(|_| first.escape_ascii().to_string(), str::to_owned);
        let more = if others == 0 { String::new() } else { format!(" (and {others} more)") };
        Err(Failure::new(FailureKind::Missing, format_args!("key '{first}'{more} is not in the store")))
    }
}

fn on_keys(
    folder: StoreFolder,
    arguments: &KeyArguments,
    on_records: KeyOperation<Vec<u8>>,
    on_counts: KeyOperation<u64>,
) -> Result<KeysOutcome, Failure> {
    let plan = folder.plan_memory(arguments.memory.0, 1, 0, false)?;
    match folder.contents()? {
        Some(Contents::Counts) => each_key(&folder.open::<u64>(&plan)?, &arguments.keys, on_counts),
        _ => each_key(&folder.open::<Vec<u8>>(&plan)?, &arguments.keys, on_records),
    }
}

fn each_key<V: StoredValue>(
    store: &Store<V>,
    keys: &[OsString],
    operation: KeyOperation<V>,
) -> Result<KeysOutcome, Failure> {
    let mut session = store.session()?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for key in keys {
        let key = key.as_encoded_bytes();
        match operation(&mut session, key)? {
            Some(value) => found.push((key.to_vec(), value.shown())),
            None => missing.push(key.to_vec()),
        }
    }
    drop(session);
    let statistics = store.statistics();
    // Deletes are durable before anything is said about them.
    store.close()?;
    Ok(KeysOutcome { found, missing, statistics })
}
