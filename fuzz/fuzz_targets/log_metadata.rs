//! libFuzzer program around [`oxifaster_fuzz::log_metadata`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oxifaster_fuzz::log_metadata::run(bytes));
