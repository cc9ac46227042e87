//! libFuzzer program around [`oxifaster_fuzz::metadata_slot`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oxifaster_fuzz::metadata_slot::run(bytes));
