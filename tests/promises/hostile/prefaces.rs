//! Invalid beginnings of HTTP/2 connections, which must begin with the preface and SETTINGS (RFC 9113, 3.4).

use super::case::{Case, Fate};
use super::frame::*;

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: &[u8], fate| {
        cases.push(Case::new(format!("HTTP/2: {name}"), bytes, fate));
    };
    let settings = frame(SETTINGS, 0, 0, &[]);
    let begun = |first: &[u8]| [PREFACE, first, &settings, &get(1)].concat();
    add("a preface and its settings", &begun(&[]), Fate::Forwarded);
    for (name, first) in [
        ("a request", get(1)),
        ("a request on a later stream", get(7)),
        ("a ping", frame(PING, 0, 0, &[0; 8])),
        ("an answer to a ping", frame(PING, ACK, 0, &[0; 8])),
        ("a body", frame(DATA, END_STREAM, 1, b"hello")),
        ("a reset", frame(RST_STREAM, 0, 1, &[0; 4])),
        ("a priority", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0])),
        ("a window", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0])),
        ("a farewell", frame(GOAWAY, 0, 0, &[0; 8])),
        ("a continuation", frame(CONTINUATION, END_HEADERS, 1, &fields(&GET))),
        ("a push", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])),
        ("a frame of no known kind", frame(0xbe, 0xff, 0, b"noise")),
        ("an answer to settings", frame(SETTINGS, ACK, 0, &[])),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        ("settings of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a request of HTTP/1.1", b"GET / HTTP/1.1\r\nHost: test\r\n\r\n".to_vec()),
        ("noise", vec![0xaa; 3000]),
        ("zeros", vec![0; 3000]),
        ("another preface", PREFACE.to_vec()),
    ] {
        add(&format!("{name} before the settings"), &begun(&first), Fate::Closed);
        // An endpoint that waits for SETTINGS must check the frames that arrive instead.
        add(&format!("{name} in place of the settings"), &[PREFACE, &first].concat(), Fate::Closed);
    }
    add("a preface that goes wrong", &[&PREFACE[..20], b"XX\r\n", &get(1)].concat(), Fate::Closed);
    add("a preface after the settings", &[PREFACE, &settings, PREFACE, &get(1)].concat(), Fate::Closed);
    cases
}
