//! libFuzzer program around [`oxifaster_fuzz::signed_log`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oxifaster_fuzz::signed_log::run(bytes));
