//! The heartbeats of a stream.

use std::sync::Arc;

use super::dialect::Heartbeat;

const COMMENT: &[u8] = b": heartbeat";

/// The most bytes of padding in one line. Some clients cannot read lines of 64 KiB (Go's `bufio.Scanner`), and others give
/// up after many lines without data. A few lines well below 64 KiB work for both.
const LINE: usize = 8 * 1024;

/// The heartbeats of a route, shared by its streams. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Heartbeats(Arc<Comments>);

/// The comment with each kind of line end.
#[derive(PartialEq, Eq)]
struct Comments {
    lf: Vec<u8>,
    cr: Vec<u8>,
}

impl Heartbeats {
    /// The largest padding that the configuration accepts, in bytes.
    pub const MAX_PADDING: usize = 64 * 1024;

    /// Heartbeats with `padding` bytes added to each comment. Long padding is spread over several comment lines.
    pub fn padded(padding: usize) -> Self {
        let mut filler = vec![b'.'; padding];
        for line in (LINE..padding).step_by(LINE) {
            filler[line - 1] = b'\n';
            filler[line] = b':';
        }
        let ending_in = |end: &[u8]| [COMMENT, &filler, end].concat();
        Self(Arc::new(Comments { lf: ending_in(b"\n"), cr: ending_in(b"\r") }))
    }

    /// The padding of each comment in bytes.
    pub fn padding(&self) -> usize {
        self.0.lf.len() - COMMENT.len() - 1
    }

    /// The bytes of one heartbeat.
    ///
    /// `after_cr`: the last byte written was a CR whose LF may still arrive. The heartbeat then ends with a CR too, so that
    /// this LF completes its line end instead of adding a blank line.
    pub fn get(&self, kind: Heartbeat, after_cr: bool) -> &[u8] {
        match (kind, after_cr) {
            (Heartbeat::Comment, false) => &self.0.lf,
            (Heartbeat::Comment, true) => &self.0.cr,
            (Heartbeat::BlankLine, false) => b"\n",
            (Heartbeat::BlankLine, true) => b"\r",
        }
    }
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self::padded(0)
    }
}

impl std::fmt::Debug for Heartbeats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Heartbeats::padded({})", self.padding())
    }
}
