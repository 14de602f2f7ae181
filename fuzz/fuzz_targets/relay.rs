#![no_main]

#[path = "../relay.rs"]
mod relay;
#[path = "../../tests/kit"]
#[allow(dead_code, reason = "the tests use the rest")]
mod kit {
    pub mod strict;
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| relay::relay(input));
