//! libFuzzer program around [`oxifaster_fuzz::input_lines`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oxifaster_fuzz::input_lines::run(bytes));
