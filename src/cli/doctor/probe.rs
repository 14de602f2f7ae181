//! The probe: from the flags to the report.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::FutureExt;
use sidestream::config::DoctorToken;
use sidestream::doctor::judge::{self, AnswerSeen, Finding, PointSeen};
use sidestream::doctor::probe::{self, Connecting, INTERRUPTED, Plan, Point, Request, Versions};
use sidestream::doctor::report::{self, Colours, Lines};

use super::Doctor;
use super::interrupt::interrupted;
use crate::cli::error::CliError;
use crate::cli::logging::start_logging;
use crate::cli::run::runtime;
use crate::cli::terminal::{is_dumb, print};

/// Something was found that should be mended.
const FOUND: u8 = 3;

/// How long a real answer is watched.
const ANSWER_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Ready, with the exit code, when the probe should stop.
trait Interrupted: Future<Output = u8> + Clone {}

impl<F: Future<Output = u8> + Clone> Interrupted for F {}

pub fn start(doctor: &Doctor) -> Result<ExitCode, CliError> {
    if doctor.points.is_empty() {
        return Err(CliError::usage(
            "there is no point to look at\n  write `sidestream doctor --token TOKEN [name=]URL …`, or `--serve ADDRESS`",
        ));
    }
    start_logging("error");
    let interrupted = interrupted().shared();
    runtime()?.block_on(async {
        let mut points = points(doctor)?;
        match &doctor.token {
            Some(token) => probe_chain(doctor, &mut points, token, interrupted).await,
            None => watch_answers(doctor, &mut points, interrupted).await,
        }
    })
}

fn points(doctor: &Doctor) -> Result<Vec<Point>, CliError> {
    let versions = match (doctor.http1, doctor.http2) {
        (true, _) => Versions::Http1,
        (_, true) => Versions::Http2,
        _ => Versions::AsBrowsers,
    };
    let connecting = Connecting { versions, is_insecure: doctor.insecure, resolve: doctor.resolve.clone() };
    Point::all(&doctor.points, &connecting).map_err(CliError::usage)
}

async fn probe_chain(
    doctor: &Doctor,
    points: &mut [Point],
    token: &str,
    interrupted: impl Interrupted,
) -> Result<ExitCode, CliError> {
    token.parse::<DoctorToken>().map_err(|bad| {
        CliError::usage(format!("--token: {bad}\n  write the one that the origin has printed"))
    })?;
    let plan = Plan { token: token.to_owned(), fields: doctor.header.clone(), idle: doctor.idle };
    let lines = lines(doctor, points);
    let (mut seen, interrupted) = probe::probe(points, &plan, &lines, interrupted).await;
    let is_asked = |point: &&PointSeen| !is_interrupted(&point.echo);
    let findings = judge::findings(&seen.iter().filter(is_asked).cloned().collect::<Vec<_>>());
    if interrupted.is_some() {
        probe::fill_in(&mut seen, &plan);
    }
    if doctor.json {
        print(&format!("{:#}\n", report::json(&seen, &findings)))?;
    } else if interrupted.is_some() {
        print(&format!("\n{}", report::interrupted_report(&seen, &findings, colours())))?;
    } else {
        print(&format!("\n{}", report::report(&seen, &findings, colours())))?;
    }
    if let Some(code) = interrupted {
        return Ok(ExitCode::from(code));
    }
    if seen.iter().all(|point| point.echo.is_err()) {
        return Err(CliError::running("no point was reached\n  is the origin there, and is this its token?"));
    }
    Ok(exit_code(findings.iter().any(Finding::is_grave)))
}

async fn watch_answers(
    doctor: &Doctor,
    points: &mut [Point],
    interrupted: impl Interrupted,
) -> Result<ExitCode, CliError> {
    let request = Request {
        fields: doctor.header.clone(),
        body: body(doctor)?,
        limit: doctor.idle.unwrap_or(ANSWER_LIMIT),
    };
    let lines = lines(doctor, points);
    let mut seen: Vec<(String, Result<AnswerSeen, String>)> = Vec::new();
    // One after the other: each request costs the backend an answer.
    for point in points {
        let watching = probe::watch(point, &request, interrupted.clone());
        let answer = probe::telling_the_time(watching, &lines).await;
        if !doctor.json {
            print(&report::answer(&point.name, &answer))?;
        }
        seen.push((point.name.clone(), answer));
    }
    let is_asked = |(_, answer): &&(String, Result<_, _>)| !is_interrupted(answer);
    let asked: Vec<_> = seen.iter().filter(is_asked).cloned().collect();
    let findings = judge::answer_findings(&asked);
    if doctor.json {
        print(&format!("{:#}\n", report::answers_json(&doctor.points, &seen, &findings)))?;
    } else if !asked.is_empty() {
        print(&report::answers_report(&asked, &findings, colours()))?;
    }
    if let Some(code) = interrupted.now_or_never() {
        return Ok(ExitCode::from(code));
    }
    let answers = || seen.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    if answers().next().is_none() {
        return Err(CliError::running(
            "no point gave an answer\n  is the URL right, and does something listen there?",
        ));
    }
    let is_any_bad = answers().any(|answer| !answer.verdict.is_good());
    Ok(exit_code(is_any_bad || findings.iter().any(Finding::is_grave)))
}

/// With --json the lines go to standard error.
fn lines(doctor: &Doctor, points: &[Point]) -> Lines<impl Fn(&str) + use<>> {
    let is_json = doctor.json;
    let say = move |line: &str| if is_json { eprint!("{line}") } else { print(line).unwrap_or_default() };
    let name_width = points.iter().map(|point| point.name.chars().count()).max().unwrap_or_default();
    let is_terminal = !doctor.json && std::io::stdout().is_terminal() && !is_dumb();
    Lines { print: say, colours: colours(), is_terminal, name_width }
}

fn is_interrupted<T>(seen: &Result<T, String>) -> bool {
    seen.as_ref().err().is_some_and(|why| why == INTERRUPTED)
}

/// The body of the request, from the command line or a file.
fn body(doctor: &Doctor) -> Result<Option<Vec<u8>>, CliError> {
    let Some(data) = &doctor.data else { return Ok(None) };
    let Some(file) = data.strip_prefix('@') else { return Ok(Some(data.clone().into_bytes())) };
    std::fs::read(file)
        .map(Some)
        .map_err(|error| CliError::usage(format!("--data: cannot read {file}: {error}")))
}

fn exit_code(is_found: bool) -> ExitCode {
    if is_found { ExitCode::from(FOUND) } else { ExitCode::SUCCESS }
}

fn colours() -> Colours {
    let are_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Colours { are_on: std::io::stdout().is_terminal() && are_wanted && !is_dumb() }
}
