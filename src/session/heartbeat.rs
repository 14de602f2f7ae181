//! What fills a silence.

use std::sync::Arc;

use super::dialect::Heartbeat;

const COMMENT: &[u8] = b": heartbeat";

/// Bytes of padding in a line. Some clients bear none of 64 KiB (Go's `bufio.Scanner`), and others give up after so many lines without
/// data: few lines far below that suit both.
const LINE: usize = 8 * 1024;

/// The heartbeats of a route. Its streams share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Heartbeats(Arc<Comments>);

/// The comment with either end.
#[derive(PartialEq, Eq)]
struct Comments {
    lf: Vec<u8>,
    cr: Vec<u8>,
}

impl Heartbeats {
    pub const MAX_PADDING: usize = 64 * 1024;

    /// `padding`: bytes that are added to each comment. The first line is a comment, so those that it is continued on are too.
    pub fn padded(padding: usize) -> Self {
        let mut filler = vec![b'.'; padding];
        for line in (LINE..padding).step_by(LINE) {
            filler[line - 1] = b'\n';
            filler[line] = b':';
        }
        let ending_in = |end: &[u8]| [COMMENT, &filler, end].concat();
        Self(Arc::new(Comments { lf: ending_in(b"\n"), cr: ending_in(b"\r") }))
    }

    /// Bytes that are added to each comment.
    pub fn padding(&self) -> usize {
        self.0.lf.len() - COMMENT.len() - 1
    }

    /// One heartbeat. `after_cr`: the last byte written was a CR whose LF may still come. Then it ends in a CR itself, so that this LF
    /// ends its line and not a blank one.
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
