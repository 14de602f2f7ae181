//! A table of streams as backends send them, with the expected results. One test runs it through a session without I/O,
//! another one through sidestream over real sockets.

mod agents;
mod answers;
mod applications;
mod counts;
mod error_form;
mod heads;
mod healthy;
mod large;
mod large_answers;
mod mcp;
mod named_ends;
mod openai;
mod own_errors;
mod pages;
mod recognition;
mod row;
mod tails;
mod typed;
mod vendors;
mod verdict;

pub use answers::answers;
pub use row::{End, Fate, Framing, Kind, Row};
pub use verdict::{FirstToken, Seen};

/// All rows. Their names are unique.
pub fn rows() -> Vec<Row> {
    let rows = [
        healthy::rows(),
        agents::rows(),
        mcp::rows(),
        applications::rows(),
        recognition::rows(),
        openai::rows(),
        typed::rows(),
        vendors::rows(),
        pages::rows(),
        own_errors::rows(),
        counts::rows(),
        named_ends::rows(),
        large::rows(),
        large_answers::rows(),
        tails::rows(),
        heads::rows(),
    ]
    .concat();
    let mut names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1], "two rows of one name");
    }
    rows
}

/// An event with this data.
fn data(data: impl std::fmt::Display) -> String {
    format!("data: {data}\n\n")
}

/// An event with this name and data.
fn named(name: &str, data: impl std::fmt::Display) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// An event in no known dialect.
const WORD: &str = "data: {\"text\":\"Hello\"}\n\n";
