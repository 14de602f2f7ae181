#![no_main]

#[path = "../relay.rs"]
mod relay;

libfuzzer_sys::fuzz_target!(|input: &[u8]| relay::relay(input));
