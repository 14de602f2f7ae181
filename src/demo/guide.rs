//! What the demo tells people to try.

use std::fmt::Write;
use std::net::SocketAddr;

use super::model::Manner;

/// Where the parts of the demo are.
pub struct DemoAddresses {
    pub sidestream: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    /// The servers: how many tokens a stream gets a second, and where they are.
    pub models: Vec<(u32, SocketAddr)>,
    /// Where the first of them is killed and brought back.
    pub switch: Option<SocketAddr>,
}

/// How wide a terminal is at least.
const COLUMNS: usize = 80;

/// The doctor's command, whatever this program was called by.
const DOCTOR: &str = "doctor";

/// One thing to try.
struct Trial {
    title: &'static str,
    manner: Manner,
    /// At once.
    requests: u32,
    /// What is run, without its URL and the body; [`DOCTOR`] is this program.
    command: &'static str,
    look_for: &'static str,
}

const TRIALS: [Trial; 9] = [
    Trial {
        title: "Tokens one by one, and a client that leaves",
        manner: Manner::WellBehaved,
        requests: 1,
        command: "curl -N",
        look_for: "events arrive one by one. Press Ctrl-C halfway: the log says CANCELLED at once.",
    },
    Trial {
        title: "A model that tears its events into fragments",
        manner: Manner::Tears,
        requests: 1,
        command: "curl -N --raw",
        look_for: "each chunk (a size in hex, then its bytes) is a whole event.",
    },
    Trial {
        title: "A model that dies in the middle of an event",
        manner: Manner::Dies,
        requests: 1,
        command: "curl -N",
        look_for: "no half event, but `event: error` with a code.",
    },
    Trial {
        title: "A model that ends its response in the middle of the answer",
        manner: Manner::StopsShort,
        requests: 1,
        command: "curl -N",
        look_for: "`event: error` with upstream_truncated. From the model itself, half an answer looks like a whole one.",
    },
    Trial {
        title: "A model that stalls",
        manner: Manner::Stalls,
        requests: 1,
        command: "curl -N",
        look_for: "a heartbeat comment every second, then the error `idle_timeout` after 5 s; the log says CANCELLED.",
    },
    Trial {
        title: "A model that buffers its whole answer",
        manner: Manner::Buffers,
        requests: 1,
        command: "curl -N",
        look_for: "heartbeats through the silence, and its time to first event below.",
    },
    Trial {
        title: "Who holds the tokens back?",
        manner: Manner::Buffers,
        requests: 1,
        command: DOCTOR,
        look_for: "`buffered_to_end`, and how that is known.",
    },
    Trial {
        title: "A model that generates on for nobody",
        manner: Manner::IgnoresCancel,
        requests: 1,
        command: "curl -N",
        look_for: "press Ctrl-C halfway: its connection is closed at once, and the log says what it does with that.",
    },
    Trial {
        title: "More requests at once than the servers carry",
        manner: Manner::WellBehaved,
        requests: 40,
        command: "curl -Z --parallel-immediate -o /dev/null",
        look_for: "a queue on the live page, which grows and empties. Nobody is refused.",
    },
];

/// What is seen when a server is killed.
const SWITCHED: &str = "the fastest server's streams end with `event: error`, and no new request fails. The live page shows it as \
    ejected, and soon as up when it is back.";

impl DemoAddresses {
    /// The text that is printed.
    pub fn guide(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let servers: Vec<String> = self.models.iter().map(|(speed, _)| speed.to_string()).collect();
        writeln!(out, "Behind sidestream are servers at {} tokens/s:", servers.join(", "))?;
        let urls: Vec<String> = self.models.iter().map(|(_, at)| format!("http://{at}")).collect();
        writeln!(out, "{}", urls.join(" "))?;
        writeln!(out, "To compare, put one of these addresses into any line.\n")?;
        for (number, trial) in (1..).zip(&TRIALS) {
            writeln!(out, "{number}. {}", trial.title)?;
            if let Some(address) = self.sidestream {
                writeln!(out, "   {}", trial.command(address))?;
            }
            look_for(out, trial.look_for)?;
        }
        let number = TRIALS.len() + 1;
        if let Some(switch) = self.switch {
            writeln!(out, "{number}. A server that dies, and comes back")?;
            writeln!(out, "   curl -X POST http://{switch}/down")?;
            writeln!(out, "   curl -X POST http://{switch}/up")?;
            look_for(out, SWITCHED)?;
        }
        if let Some(admin) = self.admin {
            writeln!(out, "A crowd of other clients comes and goes. What becomes of all of them, live:")?;
            writeln!(out, "   http://{admin}/\n")?;
            writeln!(out, "What Prometheus sees of it:")?;
            writeln!(out, "   curl -s http://{admin}/metrics | grep ^sidestream | grep -v _bucket\n")?;
        }
        writeln!(out, "Ctrl-C ends the demo.")
    }
}

impl Trial {
    fn command(&self, address: SocketAddr) -> String {
        let Self { command, requests, .. } = self;
        let body = format!(r#"{{"model":"{}","stream":true}}"#, self.manner.model());
        // As it was called itself, which need not be by a name that the shell finds.
        let own = || std::env::args().next().unwrap_or_else(|| "sidestream".to_owned());
        let command = if *command == DOCTOR { format!("{} doctor", own()) } else { (*command).to_owned() };
        match requests {
            1 => format!("{command} http://{address}/v1/chat/completions -d '{body}'"),
            _ => format!("{command} 'http://{address}/v1/chat/completions?[1-{requests}]' -d '{body}'"),
        }
    }
}

/// Says it in lines that a terminal has room for.
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
