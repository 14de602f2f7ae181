//! What the doctor can find: the names that its findings have in reports, and how bad each of them is.

use serde::{Deserialize, Serialize};

/// How bad a finding is. Warnings and errors make the command end with 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No hop is at fault.
    Info,
    /// Streams work, and some of what makes them good is lost.
    Warning,
    /// Streams do not arrive as streams, or not at all.
    Error,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One table: a finding, its name, and how bad it is.
macro_rules! findings {
    ($($(#[$meaning:meta])* $variant:ident $name:literal $severity:ident,)*) => {
        /// What can be wrong with a hop, as reports name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
        pub enum FindingId {
            $($(#[$meaning])* #[serde(rename = $name)] $variant,)*
        }

        impl FindingId {
            pub const ALL: &[FindingId] = &[$(Self::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)*
                }
            }
        }
    };
}

findings! {
    /// Events are held until some number of bytes is there.
    Buffered "buffered" Error,
    /// Events are held until the response is over.
    BufferedToEnd "buffered_to_end" Error,
    /// The header is held until there is some of the body.
    LateHeader "late_header" Warning,
    /// An event arrives in more pieces than it was sent in.
    Torn "torn" Warning,
    /// Events that were sent one by one arrive together.
    Merged "merged" Warning,
    /// What arrives is not what was sent.
    Altered "altered" Error,
    /// The hop compresses streams.
    Compressed "compressed" Warning,
    /// Only some content types pass as they come.
    TypeDependent "type_dependent" Warning,
    /// A field that matters is taken away.
    FieldStripped "field_stripped" Warning,
    /// A field is added, which tells what the hop is.
    FieldAdded "field_added" Info,
    /// HTTP/1.0 or `Connection: close` where HTTP/1.1 was asked for.
    Downgraded "downgraded" Warning,
    /// The backend does not learn that a client has left.
    ClientGoneNotPropagated "client_gone_not_propagated" Error,
    /// A response that broke ends as a complete one does.
    CutLooksComplete "cut_looks_complete" Error,
    /// Silence before the header ends the request.
    HeaderLimit "header_limit" Warning,
    /// Silence within the response ends it.
    IdleLimit "idle_limit" Warning,
    /// The response ends after some time, whatever is sent.
    AbsoluteLimit "absolute_limit" Warning,
    /// Small comments in the silence do not get through.
    HeartbeatHeld "heartbeat_held" Warning,
    /// No more than a few streams at once.
    StreamLimit "stream_limit" Warning,
    /// Browsers may not send the fields that streams need.
    Cors "cors" Warning,
    /// The point does not answer.
    Unreachable "unreachable" Error,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_finding_is_read_by_the_name_that_it_is_written_with() {
        for &id in FindingId::ALL {
            let written = serde_json::to_string(&id).unwrap();
            assert_eq!(written, format!("\"{}\"", id.as_str()));
            assert_eq!(serde_json::from_str::<FindingId>(&written).unwrap(), id);
        }
    }

    #[test]
    fn a_severity_is_written_by_its_name_and_worse_is_more() {
        for severity in [Severity::Info, Severity::Warning, Severity::Error] {
            assert_eq!(serde_json::to_string(&severity).unwrap(), format!("\"{}\"", severity.as_str()));
        }
        assert!(Severity::Info < Severity::Warning && Severity::Warning < Severity::Error);
    }
}
