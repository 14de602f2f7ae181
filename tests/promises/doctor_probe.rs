//! The doctor's probe: what a hop does to streams is found, and said to be between the right points.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::kit;
use crate::kit::Sidestream;
use crate::kit::doctor::{PROBE_TOKEN, ProbeOrigin, doctor, found};

/// What a hop does.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Faithful,
    /// Passes a response on only in pieces of so many bytes.
    Holds(usize),
    /// Reads its origin to the end, whoever has left.
    IgnoresLeaving,
    /// Takes this field out of requests.
    Strips(&'static str),
    /// Closes what is silent for so long.
    Cuts(Duration),
}

/// Starts a hop in front of this address; it lasts as long as the process.
fn hop(manner: Manner, origin: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || pass(manner, client, TcpStream::connect(origin).expect("the origin")));
        }
    });
    address
}

/// Passes one connection on, in both directions.
fn pass(manner: Manner, mut client: TcpStream, mut origin: TcpStream) {
    client.set_nodelay(true).expect("a socket");
    let (mut from_client, mut to_origin) =
        (client.try_clone().expect("a socket"), origin.try_clone().expect("a socket"));
    thread::spawn(move || {
        let mut room = [0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut room) {
            let bytes = match manner {
                Manner::Strips(field) => without(field, &room[..length]),
                _ => room[..length].to_vec(),
            };
            if to_origin.write_all(&bytes).is_err() {
                return;
            }
        }
        if manner != Manner::IgnoresLeaving {
            to_origin.shutdown(Shutdown::Both).unwrap_or_default();
        }
    });
    if let Manner::Cuts(limit) = manner {
        origin.set_read_timeout(Some(limit)).expect("a socket");
    }
    let (mut room, mut held) = ([0; 64 * 1024], Vec::new());
    while let Ok(length @ 1..) = origin.read(&mut room) {
        held.extend_from_slice(&room[..length]);
        let least = if let Manner::Holds(least) = manner { least } else { 1 };
        // Heads pass at once.
        if (held.len() >= least || held.starts_with(b"HTTP/1.1")) && client.write_all(&held).is_ok() {
            held.clear();
        }
    }
    client.write_all(&held).unwrap_or_default();
    client.shutdown(Shutdown::Both).unwrap_or_default();
}

/// A request without this field, if it has it.
fn without(field: &str, request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    let is_field = |line: &str| line.to_ascii_lowercase().starts_with(&format!("{field}:"));
    text.split_inclusive("\r\n").filter(|line| !is_field(line)).collect::<String>().into_bytes()
}

/// The exit code and the report of the doctor in front of this hop.
fn probed(manner: Manner, more: &[&str]) -> (Option<i32>, Value) {
    let origin = ProbeOrigin::start();
    kit::doctor::probed(&origin, hop(manner, origin.address), more)
}

#[test]
fn nothing_is_found_where_a_hop_passes_everything_on() {
    let (code, said) = probed(Manner::Faithful, &[]);
    assert_eq!((code, said["findings"].clone()), (Some(0), serde_json::json!([])));
}

#[test]
fn a_hop_that_waits_for_bytes_is_named_with_their_number() {
    let (code, said) = probed(Manner::Holds(4096), &[]);
    assert_eq!(code, Some(3));
    assert_eq!(found(&said)[0], ["buffered", "error", "inner", "outer"], "{said:#}");
    let bytes = said["findings"][0]["evidence"]["released_at_bytes"].as_f64().expect("a number");
    assert!((3600.0..=4400.0).contains(&bytes), "{bytes}");
    let remedies = said["findings"][0]["remedy"].as_array().expect("remedies");
    assert!(remedies.iter().any(|remedy| remedy["write"] == "proxy_buffering off;"), "{remedies:?}");
}

#[test]
fn a_hop_that_does_not_tell_its_origin_of_a_client_that_left_is_named() {
    let (code, said) = probed(Manner::IgnoresLeaving, &[]);
    assert_eq!(code, Some(3));
    assert_eq!(found(&said), [["client_gone_not_propagated", "error", "inner", "outer"]], "{said:#}");
}

#[test]
fn a_hop_that_takes_a_field_out_of_requests_is_named() {
    let (code, said) = probed(Manner::Strips("last-event-id"), &[]);
    assert_eq!(code, Some(3));
    assert_eq!(found(&said), [["field_stripped", "warning", "inner", "outer"]], "{said:#}");
    assert_eq!(said["findings"][0]["evidence"]["request"], serde_json::json!(["Last-Event-ID"]));
}

#[test]
fn limits_of_silence_are_measured_and_come_with_the_heartbeats_to_write() {
    let (code, said) = probed(Manner::Cuts(Duration::from_secs(3)), &["--idle", "8s"]);
    assert_eq!(code, Some(3));
    let limits = [["header_limit", "warning", "inner", "outer"], ["idle_limit", "warning", "inner", "outer"]];
    assert_eq!(found(&said), limits, "{said:#}");
    for (finding, key) in [(0, "early_heartbeat: 1s"), (1, "heartbeat: 1s")] {
        let finding = &said["findings"][finding];
        let cut = finding["evidence"]["cut_after_ms"].as_f64().expect("a number");
        assert!((2900.0..7000.0).contains(&cut), "{cut}");
        let remedies = finding["remedy"].as_array().expect("remedies");
        assert!(remedies.iter().any(|remedy| remedy["write"] == key), "{remedies:?}");
    }
}

/// What the doctor advises against a limit for headers is not taken for one.
#[tokio::test]
async fn a_stream_that_a_hop_begins_early_has_met_no_limit() {
    let origin = ProbeOrigin::start();
    let setup = Sidestream::before(format!("http://{}", origin.address));
    let proxy = setup.stream("early_heartbeat: 1s, heartbeat: 1s").start().await;
    let url = format!("http://{}/", proxy.address);
    let probe = move || doctor(&["--json", "--token", PROBE_TOKEN, "--idle", "4s", &url]);
    let output = tokio::task::spawn_blocking(probe).await.expect("an end");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found(&said), [[""; 4]; 0], "{said:#}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_point_that_is_not_reached_is_a_finding_and_no_point_is_a_failure() {
    let origin = ProbeOrigin::start();
    let inner = format!("inner=http://{}/", origin.address);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let outer = format!("outer=http://{nobody}/");
    let output = doctor(&["--json", "--token", PROBE_TOKEN, &inner, &outer]);
    assert_eq!(output.status.code(), Some(3));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found(&said), [["unreachable", "error", "inner", "outer"]]);

    let output = doctor(&["--token", "not-the-token-of-it", &inner]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("no point was reached"), "{message}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("status 403"), "{text}");
}

#[test]
fn what_is_wrong_with_the_flags_of_a_probe_is_said() {
    for (arguments, message) in [
        (&[][..], "error: there is no point to look at"),
        (&["ftp://x"], "error: `ftp://x` is not the URL of a point"),
        (&["a=http://x", "a=http://y"], "error: two points are called `a`"),
        (&["--token", "a b", "http://x"], "error: --token: a token consists of letters, digits and `-._~`"),
        (&["--token", "short", "http://x"], "error: --token: a token has at least 16 characters"),
        (&["--resolve", "x", "http://x"], "write `HOST:PORT:ADDRESS`"),
        (&["--header", "x", "http://x"], "write `Name: value`"),
        (&["--idle", "5", "http://x"], "write a number and a unit, such as `90s` or `10m`"),
        (&["-d", "@/does/not/exist", "http://x"], "error: --data: cannot read /does/not/exist"),
    ] {
        let output = doctor(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(message), "{text}");
    }
}

#[test]
fn what_is_printed_fits_into_eighty_columns() {
    let origin = ProbeOrigin::start();
    let address = hop(Manner::Holds(4096), origin.address);
    let name = "edge-of-the-network-of-the-office";
    let output = doctor(&["--token", PROBE_TOKEN, &format!("{name}=http://{address}/")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let long: Vec<_> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(long.is_empty(), "{long:?}");
    assert!(text.contains("1. error buffered: between origin and edge-of-the-network…"), "{text}");
    assert!(text.contains("  sent    |") && text.contains("  arrived "), "{text}");
}
