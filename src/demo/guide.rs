//! The guide that the demo prints: what to try, and what to look for.

use std::fmt::Write;
use std::net::SocketAddr;

use super::model::Manner;

/// The addresses of the parts of the demo.
pub struct DemoAddresses {
    pub sidestream: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    /// The servers: tokens per second of a stream, and address.
    pub models: Vec<(u32, SocketAddr)>,
    /// The address where the first server is killed and brought back.
    pub switch: Option<SocketAddr>,
}

/// The line width to fit, in columns.
const COLUMNS: usize = 80;

/// Stands for the doctor's command, under the name by which this program was called.
const DOCTOR: &str = "doctor";

/// Something to try.
struct Trial {
    title: &'static str,
    manner: Manner,
    /// The number of concurrent requests.
    requests: u32,
    /// The command, without its URL and body. [`DOCTOR`] stands for this program.
    command: &'static str,
    look_for: &'static str,
}

const TRIALS: [Trial; 9] = [
    Trial {
        title: "A well-behaved model, and a client that disconnects",
        manner: Manner::WellBehaved,
        requests: 1,
        command: "curl -N",
        look_for: "events arrive one by one. Press Ctrl-C halfway: the log says CANCELLED immediately.",
    },
    Trial {
        title: "A model that writes its events in fragments",
        manner: Manner::Tears,
        requests: 1,
        command: "curl -N --raw",
        look_for: "each chunk (a size in hex, then the bytes) is a whole event.",
    },
    Trial {
        title: "A model that dies in the middle of an event",
        manner: Manner::Dies,
        requests: 1,
        command: "curl -N",
        look_for: "no partial event, but `event: error` with a code.",
    },
    Trial {
        title: "A model that ends its response before the answer is complete",
        manner: Manner::StopsShort,
        requests: 1,
        command: "curl -N",
        look_for: "`event: error` with upstream_truncated. Without sidestream, the truncated answer looks complete.",
    },
    Trial {
        title: "A model that stalls",
        manner: Manner::Stalls,
        requests: 1,
        command: "curl -N",
        look_for: "a heartbeat comment every second, then the error `idle_timeout` after 5 s. The log says CANCELLED.",
    },
    Trial {
        title: "A model that buffers its whole answer",
        manner: Manner::Buffers,
        requests: 1,
        command: "curl -N",
        look_for: "heartbeats during the silence; the metrics show the time to first event.",
    },
    Trial {
        title: "Find the hop that buffers",
        manner: Manner::Buffers,
        requests: 1,
        command: DOCTOR,
        look_for: "the finding `buffered_to_end`, with the evidence for it.",
    },
    Trial {
        title: "A model that ignores cancellation",
        manner: Manner::IgnoresCancel,
        requests: 1,
        command: "curl -N",
        look_for: "after Ctrl-C halfway, sidestream closes the connection immediately, but the log shows that the model generates the rest for nobody.",
    },
    Trial {
        title: "More concurrent requests than the servers accept",
        manner: Manner::WellBehaved,
        requests: 40,
        command: "curl -Z --parallel-immediate -o /dev/null",
        look_for: "a queue on the live page that grows and empties. No request fails.",
    },
];

/// The effect of killing a server.
const SWITCHED: &str = "the streams of the fastest server end with `event: error`. New requests do not fail. The live page shows it as ejected, \
    then as up.";

impl DemoAddresses {
    /// The text of the guide.
    pub fn guide(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let servers: Vec<String> = self.models.iter().map(|(speed, _)| speed.to_string()).collect();
        writeln!(out, "The servers behind sidestream, at {} tokens/s:", servers.join(", "))?;
        let urls: Vec<String> = self.models.iter().map(|(_, at)| format!("http://{at}")).collect();
        writeln!(out, "{}", urls.join(" "))?;
        writeln!(out, "To compare, use one of these addresses in any of the commands.\n")?;
        for (number, trial) in (1..).zip(&TRIALS) {
            writeln!(out, "{number}. {}", trial.title)?;
            if let Some(address) = self.sidestream {
                writeln!(out, "   {}", trial.command(address))?;
            }
            look_for(out, trial.look_for)?;
        }
        let number = TRIALS.len() + 1;
        if let Some(switch) = self.switch {
            writeln!(out, "{number}. A server that goes down and comes back")?;
            writeln!(out, "   curl -X POST http://{switch}/down")?;
            writeln!(out, "   curl -X POST http://{switch}/up")?;
            look_for(out, SWITCHED)?;
        }
        if let Some(admin) = self.admin {
            writeln!(out, "Other clients connect and disconnect in the background. Live page:")?;
            writeln!(out, "   http://{admin}/\n")?;
            writeln!(out, "Metrics for Prometheus:")?;
            writeln!(out, "   curl -s http://{admin}/metrics | grep ^sidestream | grep -v _bucket\n")?;
        }
        writeln!(out, "Ctrl-C ends the demo.")
    }
}

impl Trial {
    fn command(&self, address: SocketAddr) -> String {
        let Self { command, requests, .. } = self;
        let body = format!(r#"{{"model":"{}","stream":true}}"#, self.manner.model());
        // The name by which this program was called, which may be a path.
        let own = || std::env::args().next().unwrap_or_else(|| "sidestream".to_owned());
        let command = if *command == DOCTOR { format!("{} doctor", own()) } else { (*command).to_owned() };
        match requests {
            1 => format!("{command} http://{address}/v1/chat/completions -d '{body}'"),
            _ => format!("{command} 'http://{address}/v1/chat/completions?[1-{requests}]' -d '{body}'"),
        }
    }
}

/// Wraps the text to [`COLUMNS`].
fn look_for(out: &mut String, text: &str) -> std::fmt::Result {
    let mut line = "   Look for:".to_owned();
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(out, "{line}")?;
            line = "  ".to_owned();
        }
        line = line + " " + word;
    }
    writeln!(out, "{line}\n")
}
