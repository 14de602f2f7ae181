//! Black-box tests: one file per promise, over real sockets, on ports that the kernel gives.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../kit/mod.rs"]
mod kit;

mod access_log;
mod accounting;
mod admin;
mod arbitrary_bytes;
mod architecture;
mod backend_breaks;
mod browser_http2;
mod client_leaves;
mod coalesces;
mod command_line;
mod config_errors;
mod config_group_policies;
mod config_groups;
mod config_keys;
mod config_variables;
mod config_yaml;
mod content_codings;
mod demo;
mod descriptors;
mod documents;
mod drains;
mod early_heartbeats;
mod error_forms;
mod finds_servers;
mod forwards_for;
mod grpc_calls;
mod grpc_failures;
mod heartbeats;
mod hostile;
mod hosts;
mod http2;
mod judgement;
mod keeps_connections;
mod limits;
mod live_page;
mod measures;
mod mislabelled;
mod ndjson;
mod networks;
mod operates;
mod passes_untouched;
mod prometheus;
mod protocol_matrix;
mod queues;
mod real_clients;
mod refusals;
mod server_groups;
mod session;
mod shuts_down;
mod slow_readers;
mod timeouts;
mod tls;
mod trailers;
mod truncation;
mod websocket_answers;
mod websocket_ends;
mod websocket_pressure;
mod websocket_tunnel;
mod websockets;
mod whole_events;
mod workers;
