//! What the demo tells people to try.

use std::fmt::Write;
use std::net::SocketAddr;

use super::model::Manner;

/// Where the parts of the demo are.
pub struct DemoAddresses {
    pub sidestream: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub model: SocketAddr,
}

/// One thing to try.
struct Trial {
    title: &'static str,
    manner: Manner,
    curl: &'static str,
    look_for: &'static str,
}

const TRIALS: [Trial; 7] = [
    Trial {
        title: "Tokens one by one, and a client that leaves",
        manner: Manner::WellBehaved,
        curl: "curl -N",
        look_for: "events arrive one by one. Press Ctrl-C halfway: the log says CANCELLED at once.",
    },
    Trial {
        title: "A model that tears its events into fragments",
        manner: Manner::Tears,
        curl: "curl -N --raw",
        look_for: "each chunk (a size in hex, then its bytes) is a whole event; the model itself sends three per event.",
    },
    Trial {
        title: "A model that dies in the middle of an event",
        manner: Manner::Dies,
        curl: "curl -N",
        look_for: "no half event, but `event: error` with a code. The model itself just breaks off.",
    },
    Trial {
        title: "A model that ends its response in the middle of the answer",
        manner: Manner::StopsShort,
        curl: "curl -N",
        look_for: "`event: error` with upstream_truncated. From the model itself, half an answer looks like a whole one.",
    },
    Trial {
        title: "A model that stalls",
        manner: Manner::Stalls,
        curl: "curl -N",
        look_for: "a heartbeat comment every second, then the error `idle_timeout` after 5 s; the log says CANCELLED.",
    },
    Trial {
        title: "A model that buffers its whole answer",
        manner: Manner::Buffers,
        curl: "curl -N",
        look_for: "heartbeats through the silence. Nobody can stream it, but the time to first event below shows it.",
    },
    Trial {
        title: "A model that generates on for nobody",
        manner: Manner::IgnoresCancel,
        curl: "curl -N",
        look_for: "press Ctrl-C halfway: its connection is closed at once, and the log says what it does with that.",
    },
];

impl DemoAddresses {
    /// The text that is printed.
    pub fn guide(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let model = self.model;
        writeln!(out, "The model listens on http://{model}; to compare, put that address into any line.\n")?;
        for (number, trial) in (1..).zip(&TRIALS) {
            writeln!(out, "{number}. {}", trial.title)?;
            let (curl, name) = (trial.curl, trial.manner.model());
            if let Some(address) = self.sidestream {
                let body = format!(r#"{{"model":"{name}","stream":true}}"#);
                writeln!(out, "   {curl} http://{address}/v1/chat/completions -d '{body}'")?;
            }
            writeln!(out, "   Look for: {}\n", trial.look_for)?;
        }
        if let Some(admin) = self.admin {
            writeln!(
                out,
                "A crowd of other clients comes and goes. What becomes of all of them, live: http://{admin}/\n"
            )?;
            writeln!(out, "What Prometheus sees of it:")?;
            writeln!(out, "   curl -s http://{admin}/metrics | grep ^sidestream | grep -v _bucket\n")?;
        }
        writeln!(out, "Ctrl-C ends the demo.")
    }
}
