//! Real clients and real servers, with sidestream between them: the drivers in `tests/clients/` play the parts.

use crate::kit::drive;

#[test]
fn real_clients_and_a_real_server_get_on_through_sidestream() {
    drive("clients/run.py", &[]);
}

#[test]
fn every_step_of_getting_started_prints_what_the_page_shows() {
    drive("clients/getting_started.py", &[]);
}

#[test]
fn mcp_clients_resume_a_call_through_sidestream_as_they_do_without_it() {
    drive("clients/resume.py", &[]);
}

#[test]
fn an_application_that_breaks_off_its_own_stream_is_noticed_on_every_server() {
    drive("clients/own_streams.py", &[]);
}

#[test]
fn readers_of_an_unknown_stream_notice_that_it_broke_and_connect_again() {
    drive("clients/reconnects.py", &[]);
}

#[test]
fn a_page_goes_on_with_its_events_after_the_backend_restarted() {
    drive("clients/restarts.py", &["--quick"]);
}

#[test]
fn posts_that_come_when_the_backend_closes_idle_connections_are_answered() {
    drive("clients/edges.py", &["--quick"]);
}

#[test]
fn calls_of_grpc_pass_with_their_metadata_errors_and_ends() {
    drive("clients/grpc_calls.py", &["--quick"]);
}

#[test]
fn calls_of_grpc_that_fail_or_are_refused_are_told_so_in_its_own_form() {
    drive("clients/grpc_failures.py", &["--quick"]);
}

#[test]
fn trailers_pass_to_clients_that_ask_for_them() {
    drive("clients/trailers.py", &["--quick"]);
}

#[test]
fn a_group_of_real_servers_loses_no_request_when_one_dies_or_all_restart() {
    drive("clients/groups.py", &["--quick"]);
}

#[test]
fn each_address_of_a_name_is_a_server_and_may_come_and_go() {
    drive("clients/addresses.py", &["--quick"]);
}

#[test]
fn a_name_whose_first_address_refuses_connections_is_reached_at_its_second() {
    drive("clients/hosts.py", &["--quick"]);
}
