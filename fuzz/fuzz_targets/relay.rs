#![no_main]

#[path = "../../tests/kit"]
#[allow(dead_code, reason = "the tests use the rest")]
mod kit {
    pub mod backend;
    pub mod client;
    pub mod connection;
    pub mod exchange;
    pub mod sidestream;
    pub mod socket;
    pub mod strict;
    pub mod wire;
    pub mod within;
}
#[path = "../relay.rs"]
mod relay;

libfuzzer_sys::fuzz_target!(|input: &[u8]| relay::relay(input));
