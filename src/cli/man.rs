//! The manual pages: the help of each command, plus signals and files.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Appended to the page of the program.
const MORE: &str = r#"
.SH SIGNALS
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
Graceful stop. After \fIserver.drain_delay\fR, no new connections are accepted. Open streams may finish within \fIserver.drain_timeout\fR. A second signal ends the process immediately.
.TP
\fBSIGHUP\fR
Reload the configuration file. It is validated first; a file with mistakes changes nothing. Routes, streams, limits,
upstreams and certificates apply to new requests. Running streams are not affected.
.TP
\fBSIGUSR1\fR
Reopen the access log, after log rotation.
.TP
\fBSIGUSR2\fR
Upgrade: start the program that is installed now, with the sockets of this process. When it serves, this process stops as on
SIGTERM.
.SH FILES
.TP
\fI/etc/sidestream/sidestream.yaml\fR
The configuration of the service.
.TP
\fI/usr/share/doc/sidestream/examples/sidestream.yaml\fR
Every key with its default.
.TP
\fI/usr/share/doc/sidestream/examples/sidestream.schema.json\fR
The JSON Schema of the configuration, for editors; \fBsidestream schema\fR prints it.
.SH SEE ALSO
The documents in \fI/usr/share/doc/sidestream\fR; \fBsystemd.service\fR(5), \fBlogrotate\fR(8)
"#;

/// Writes one page for the program and one for each command.
pub fn write(program: clap::Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(program.disable_help_subcommand(true), folder)?;
    OpenOptions::new().append(true).open(folder.join("sidestream.1"))?.write_all(MORE.as_bytes())
}
