//! Runs each stream of the table through a session, under virtual time.

use std::time::Duration;

use sidestream::config;
use sidestream::outcome::Failure;
use sidestream::session::{Asked, Format, Policy};

use super::streams::{End, Fate, Kind, Row, Seen, rows};
use super::{Beginning, Driven};

/// Bytes per read.
const READ: usize = 16 * 1024;
/// Streams of at most this many bytes are also read byte by byte.
const SMALL: usize = 16 * 1024;
/// The largest request body that is kept.
const KEPT: usize = 64 * 1024;
/// Longer than any timeout.
const VERY_LONG: Duration = Duration::from_secs(15 * 60);

/// The policy for these keys of the `stream` section.
fn policy(keys: &str) -> Policy {
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nupstreams: {{ llm: {{ servers: [http://127.0.0.1:1] }} }}\nstream: {{ {keys} }}\n"
    );
    config::parse(&yaml, "test.yaml").expect("a valid configuration").routes[0].stream.session.clone()
}

fn beginning(row: &Row) -> Beginning {
    let request = &row.request;
    let path = request.path.split('?').next().unwrap_or_default();
    let is_mcp = request.fields.iter().any(|(name, _)| name.starts_with("Mcp-"));
    let body = Some(request.body.as_bytes()).filter(|body| body.len() <= KEPT);
    let asked = match request.method {
        "GET" => Asked::of_listener(is_mcp),
        _ => Asked::of_request(path, is_mcp, body),
    };
    let format = match row.head.kind {
        Kind::Events => Format::EventStream,
        Kind::Lines => Format::Lines,
        Kind::Opaque => Format::Opaque,
    };
    Beginning { format, asked, ..Beginning::default() }
}

/// Runs a row with reads of this many bytes. Returns the differences from what the row expects.
fn run(row: &Row, read: usize) -> Vec<String> {
    let policy = policy(row.keys);
    let mut driven = Driven::beginning(&policy, beginning(row));
    let (mut passed, mut held, mut complaints) = (0, 0, Vec::new());
    for (number, piece) in row.pieces.iter().enumerate() {
        driven.passes(piece.pause);
        for bytes in piece.bytes.chunks(read) {
            driven.backend(bytes);
        }
        match piece.fate {
            Fate::Passes => (passed, held) = (passed + held + piece.bytes.len(), 0),
            Fate::Waits => held += piece.bytes.len(),
            Fate::Lost => {}
        }
        if driven.payload.len() != passed {
            let found = driven.payload.len();
            complaints.push(format!(
                "{}: after piece {number}, {found} bytes were relayed, not {passed}",
                row.name
            ));
        }
    }
    match row.end {
        End::Clean => driven.ends(),
        End::Reset => driven.fails(Failure::Reset),
        End::Closed => driven.fails(Failure::Closed),
        End::Stall => driven.passes(VERY_LONG),
    };
    let Some(end) = driven.session.end() else {
        return vec![format!("{}: the session did not end", row.name)];
    };
    let usage = driven.session.usage();
    let seen = Seen {
        close: end.close,
        outcome: end.outcome.label().to_owned(),
        code: driven.failure().map(|failure| failure.facts().code.to_owned()),
        first_token: driven.first_token().into(),
        usage: (usage.input_tokens, usage.output_tokens),
        body: std::mem::take(&mut driven.payload),
    };
    complaints.extend(row.complaints(&seen));
    complaints.extend(heartbeat_complaint(row, &driven.heartbeats));
    let dialect = driven.session.dialect().name;
    if !row.dialect.is_empty() && row.head.kind != Kind::Opaque && dialect != row.dialect {
        complaints.push(format!("{}: the dialect is {dialect}, not {}", row.name, row.dialect));
    }
    complaints
}

/// Heartbeats must be blank lines for Gemini, comments for all other event streams, and absent elsewhere.
fn heartbeat_complaint(row: &Row, heartbeats: &[String]) -> Option<String> {
    let uses_cr = row.passed().ends_with(b"\r");
    let allowed = match row.head.kind {
        // After a CR, an LF may still follow.
        Kind::Events if row.dialect == "gemini" && uses_cr => "\r",
        Kind::Events if row.dialect == "gemini" => "\n",
        Kind::Events if uses_cr => ": heartbeat\r",
        Kind::Events => ": heartbeat\n",
        Kind::Lines | Kind::Opaque => "",
    };
    let other = heartbeats.iter().find(|heartbeat| *heartbeat != allowed)?;
    Some(format!("{}: the heartbeat is {other:?}, not {allowed:?}", row.name))
}

#[test]
fn each_stream_of_the_table_gives_the_expected_bytes_and_outcome() {
    let mut complaints = Vec::new();
    for row in rows().iter().filter(|row| !row.is_for_sockets) {
        let at_once = run(row, READ);
        if row.passed().len() <= SMALL {
            let bytewise = run(row, 1).into_iter().filter(|complaint| !at_once.contains(complaint));
            complaints.extend(bytewise.map(|complaint| format!("read byte by byte, {complaint}")));
        }
        complaints.extend(at_once);
    }
    assert!(complaints.is_empty(), "{} differences:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn a_comment_between_events_is_written_at_once() {
    let policy = Policy::default();
    let mut driven = Driven::new(&policy);
    driven.backend("data: 1\n\n").passes(Duration::from_secs(5)).backend(": keep-alive\n");
    driven.passes(Duration::from_secs(5)).breaks();
    let writes: Vec<_> = driven.writes.iter().map(|(at, text)| (at.as_secs(), text.as_str())).collect();
    assert_eq!(writes[..2], [(0, "data: 1\n\n"), (5, ": keep-alive\n")]);
    assert!(matches!(writes[2..], [(10, error)] if error.starts_with("event: error\n")), "{writes:?}");
}
