//! The doctor in front of chains of real programs: the driver in `tests/doctor/` builds them, and does what the doctor says.

use crate::kit::drive;

#[test]
fn the_doctor_names_the_hop_that_breaks_streams_and_what_it_says_to_write_mends_it() {
    drive("doctor/chains.py", &["--quick"]);
}
