//! libFuzzer program around [`oxifaster_fuzz::page_records`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oxifaster_fuzz::page_records::run(bytes));
