//! Entries on standard output: as lines, with their numbers, or as JSON objects.

use oxifaster_core::Address;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output;

/// Bytes gathered before they are written.
const OUTPUT_BYTES: usize = 1 << 16;

/// Gathers entries and writes them.
#[derive(Debug)]
pub(super) struct Printer {
    text: Vec<u8>,
    numbers: bool,
    json: bool,
}

impl Printer {
    /// A printer of lines, with numbers in front, or of objects.
    pub(super) fn new(numbers: bool, json: bool) -> Self {
        Self { text: Vec::with_capacity(2 * OUTPUT_BYTES), numbers, json }
    }

    /// Takes an entry. False: nobody reads the output any more.
    pub(super) fn print(&mut self, number: u64, address: Address, entry: &[u8]) -> Result<bool, Failure> {
        if self.json {
            let mut object = Map::new();
            object.insert("number".to_owned(), Value::from(number));
            object.insert("address".to_owned(), Value::from(address.to_string()));
            output::insert_bytes(&mut object, "entry", entry);
            self.text.extend_from_slice(Value::Object(object).to_string().as_bytes());
        } else {
            if self.numbers {
                self.text.extend_from_slice(format!("{number}\t").as_bytes());
            }
            self.text.extend_from_slice(entry);
        }
        self.text.push(b'\n');
        if self.text.len() < OUTPUT_BYTES { Ok(true) } else { self.flush() }
    }

    /// Writes what was gathered. False: nobody reads it.
    pub(super) fn flush(&mut self) -> Result<bool, Failure> {
        if self.text.is_empty() {
            return Ok(true);
        }
        let read = output::print_to_reader(&self.text)?;
        self.text.clear();
        Ok(read)
    }
}
