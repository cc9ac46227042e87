//! libFuzzer program around [`oxifaster_fuzz::codecs`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oxifaster_fuzz::codecs::run(bytes));
