//! Standard output and standard error.
//!
//! Results go to standard output, everything else to standard error. A reader that goes away (`| head`) ends the output
//! quietly: what the program did to the store is done, and nobody is left to be told.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::failure::Failure;

/// Writes text to standard output.
///
/// # Errors
/// When the output can't be written, unless its reader went away.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    print_to_reader(text).map(|_| ())
}

/// Writes text to standard output, and says whether anybody still reads it: whoever has no end of his own asks.
///
/// # Errors
/// As [`print()`].
pub fn print_to_reader(text: &[u8]) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::other(format_args!("can't write to standard output: {error}"))),
    }
}

/// Writes a JSON object as one line.
///
/// # Errors
/// As [`print()`].
pub fn print_json(object: Map<String, Value>) -> Result<(), Failure> {
    print(format!("{}\n", Value::Object(object)).as_bytes())
}

/// Writes a sentence to standard error, after the program's name. There is nobody to tell if that fails.
pub fn tell(sentence: &str) {
    let written = writeln!(io::stderr().lock(), "oxifaster: {sentence}");
    drop(written);
}

/// Bytes in JSON: text as it is, anything else as hexadecimal digits under another key.
pub fn insert_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(key.to_owned(), Value::from(text)),
        Err(_) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            object.insert(format!("{key}_hex"), Value::from(digits))
        }
    };
}
