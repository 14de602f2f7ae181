#![no_main]

#[path = "../checks.rs"]
mod checks;
#[path = "../../tests/kit"]
mod kit {
    pub mod strict;
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::configurations(input));
