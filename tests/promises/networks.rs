//! Networks as they are: peers that vanish, addresses that do not work, names that cannot be looked up or that move. The drivers in
//! `tests/network/` make hosts of network namespaces, which takes root; elsewhere they say that they skipped it.

use crate::kit::drive;

/// With short keys; fails where sidestream is slower than its limits.
const QUICKLY: [&str; 3] = ["--quick", "--binary", env!("CARGO_BIN_EXE_sidestream")];

#[test]
fn peers_that_vanish_are_noticed_and_addresses_that_do_not_work_are_passed_over() {
    drive("network/run.py", &QUICKLY);
}

#[test]
fn names_that_fail_or_move_stop_no_request_and_hang_no_signal() {
    drive("network/dns.py", &QUICKLY);
}
