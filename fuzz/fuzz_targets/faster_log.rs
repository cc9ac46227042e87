//! libFuzzer program around [`oxifaster_fuzz::faster_log`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oxifaster_fuzz::faster_log::run(bytes));
