//! The manual pages: the help of each command, and what is to be known beyond that.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Written after the page of the program itself.
const MORE: &str = r#"
.SH SIGNALS
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
Stop: after \fIserver.drain_delay\fR no new connections; open streams run to their end, at most \fIserver.drain_timeout\fR. A second one ends the process at once.
.TP
\fBSIGHUP\fR
Read the configuration file again. It is validated first, and a file with mistakes changes nothing. Routes, streams, limits,
upstreams and certificates hold for every new request; no stream is touched.
.TP
\fBSIGUSR1\fR
Open the access log again.
.TP
\fBSIGUSR2\fR
Upgrade: start the program that is installed now with the sockets of this process. When it serves, this process stops as with
SIGTERM.
.SH FILES
.TP
\fI/etc/sidestream/sidestream.yaml\fR
The configuration; every key is in it with its default.
.SH SEE ALSO
The documents in \fI/usr/share/doc/sidestream\fR; \fBsystemd.service\fR(5), \fBlogrotate\fR(8)
"#;

/// Writes one page for the program and one for each of its commands.
pub fn write(program: clap::Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(program.disable_help_subcommand(true), folder)?;
    OpenOptions::new().append(true).open(folder.join("sidestream.1"))?.write_all(MORE.as_bytes())
}
