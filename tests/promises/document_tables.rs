//! The tables that the documents have by hand agree with the program: errors, admin paths, signals, exit codes and the unit.

use std::collections::BTreeSet;
use std::process::Command;

use sidestream::downstream::LocalReply;
use sidestream::http1::BadHead;
use sidestream::outcome::Failure;

use crate::kit::markdown::{Page, all_exist, is_foreign, pages, read, root};

fn document(name: &str) -> String {
    read(&root().join(name))
}

/// The part of a document below a heading, up to the next one.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).expect("a heading");
    rest.split("\n## ").next().unwrap_or_default()
}

/// The cells of the rows of tables, without headings.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut is_body = false;
    for line in text.lines() {
        if line.starts_with("|---") {
            is_body = true;
        } else if !line.starts_with('|') {
            is_body = false;
        } else if is_body {
            let cells = line.strip_prefix("| ").map(|row| row.trim_end_matches('|').split(" | "));
            rows.extend(cells.map(|cells| cells.map(str::trim).collect::<Vec<_>>()));
        }
    }
    rows
}

/// The code spans of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Every code with every status that it can have before the response head.
fn replies() -> BTreeSet<(String, u16)> {
    let bad_heads = [
        BadHead::Tls,
        BadHead::Line,
        BadHead::Target,
        BadHead::Host,
        BadHead::Length,
        BadHead::Coding,
        BadHead::Connection,
        BadHead::LineTooLong,
        BadHead::TooLarge,
        BadHead::TimedOut,
    ];
    let local = [LocalReply::NO_ROUTE, LocalReply::CONNECT, LocalReply::GRPC_OVER_HTTP1];
    let local = local.into_iter().chain(bad_heads.map(LocalReply::from));
    let local = local.map(|reply| (reply.code.to_owned(), reply.status.as_u16()));
    let failures = Failure::ALL.iter().map(|failure| failure.facts());
    let failures = failures.map(|facts| (facts.code.to_owned(), facts.status));
    // Written as a whole, before there is a request.
    let refused = [("too_many_connections".to_owned(), 503)];
    local.chain(failures).chain(refused).collect()
}

#[test]
fn the_page_of_errors_has_every_code_with_its_status() {
    let page = document("docs/errors.md");
    let mut before = BTreeSet::new();
    for row in rows(section(&page, "Before the response head")) {
        let (status, _) = row[0].split_once(" with").unwrap_or((row[0], ""));
        let statuses: Vec<u16> = status.split(", ").map(|status| status.parse().expect("a status")).collect();
        let codes: Vec<&str> = spans(row[1]).collect();
        // Either one status for all codes, all statuses of one code, or a status for each.
        let pairs = codes.iter().enumerate().flat_map(|(place, code)| {
            let own = if codes.len() == statuses.len() { &statuses[place..=place] } else { &statuses[..] };
            own.iter().map(|status| ((*code).to_owned(), *status)).collect::<Vec<_>>()
        });
        before.extend(pairs);
        let has_retry = row[0].ends_with("`Retry-After`");
        assert_eq!(has_retry, matches!(statuses[0], 429 | 503), "Retry-After in {row:?}");
    }
    let inside: BTreeSet<&str> =
        rows(section(&page, "Inside a stream")).iter().flat_map(|row| spans(row[0])).collect();
    let known = replies();
    let unknown: Vec<_> = before.difference(&known).collect();
    assert!(unknown.is_empty(), "no error has this code and status: {unknown:?}");
    for code in &inside {
        let code = code.trim_end_matches("_429");
        let facts = Failure::ALL.iter().map(|failure| failure.facts()).find(|facts| facts.code == code);
        assert!(facts.is_some_and(|facts| !facts.broken_off.is_empty()), "{code} cannot end a stream");
    }
    let is_inside = |code: &str| inside.iter().any(|written| written.trim_end_matches("_429") == code);
    let missing = known.difference(&before).filter(|(code, _)| !is_inside(code));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&(String, u16)>::new(), "docs/errors.md lacks these");
    assert!(document("src/downstream/admission.rs").contains("\"code\":\"too_many_connections\""));
}

#[test]
fn the_admin_paths_are_those_of_the_program() {
    let page = document("docs/operations.md");
    let rows = rows(section(&page, "Check and watch"));
    let written: BTreeSet<&str> = rows.iter().flat_map(|row| spans(row[0])).collect();
    let source = document("src/admin/mod.rs");
    let mut known: BTreeSet<&str> =
        source.split('"').filter(|text| text.starts_with('/') && !text.contains(' ')).collect();
    // The live page reads it.
    known.remove("/live");
    assert_eq!(written, known);
}

/// The names of the signals that cause an action, as in `Signal::Reload`.
fn signals(action: &str) -> BTreeSet<String> {
    const NAMES: [(&str, &str); 5] = [
        ("terminate", "TERM"),
        ("interrupt", "INT"),
        ("hangup", "HUP"),
        ("user_defined2", "USR2"),
        ("quit", "QUIT"),
    ];
    let source = document("src/process/signals.rs");
    let fields = source.lines().filter(|line| line.trim().ends_with(&format!("=> Signal::{action},")));
    let fields = fields.filter_map(|line| line.split_once("self.")?.1.split('.').next());
    let kind = |field: &str| {
        let line =
            source.lines().find(|line| line.trim().starts_with(&format!("{field}: signal(SignalKind::")))?;
        let kind = line.split("SignalKind::").nth(1)?.split('(').next()?;
        NAMES.iter().find(|(name, _)| *name == kind).map(|(_, name)| (*name).to_owned())
    };
    fields.filter_map(kind).collect()
}

/// The signals that a text names, as in `SIGHUP`, `-HUP` or `--signal=HUP`.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-=".contains(c));
    let name = |word: &str| {
        let name = word.strip_prefix("SIG").or_else(|| word.strip_prefix("--signal="));
        let name = name.or_else(|| word.strip_prefix('-').filter(|_| !word.starts_with("--")))?;
        let is_name = name.len() > 2 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        is_name.then(|| name.to_owned())
    };
    words.filter_map(name).collect()
}

#[test]
fn the_signals_are_those_that_the_program_handles() {
    let page = document("docs/operations.md");
    for action in ["Reload", "Upgrade", "Stop"] {
        let known = signals(action);
        assert!(!known.is_empty(), "{action}");
        assert_eq!(named(section(&page, action)), known, "{action}");
    }
    assert_eq!(named(section(&page, "Check and watch")), BTreeSet::from(["USR1".to_owned()]), "reopening");
    assert!(document("src/process/server.rs").contains("SignalKind::user_defined1()"));
    // One that no program can handle, and the one for the access log.
    let mut known = BTreeSet::from(["KILL".to_owned(), "USR1".to_owned()]);
    known.extend(["Reload", "Upgrade", "Stop", "Replaced"].iter().flat_map(|action| signals(action)));
    for page in pages() {
        let sentences = page.prose.split_whitespace().collect::<Vec<_>>().join(" ");
        for sentence in sentences.split(". ").filter(|sentence| sentence.contains("SIG")) {
            let named = named(sentence);
            assert!(named.is_subset(&known), "{}: {named:?} in `{sentence}`", page.name);
            if is_foreign(&page) {
                continue;
            }
            let reopens = sentence.contains("reopen");
            assert!(!reopens || named.contains("USR1"), "{}: `{sentence}`", page.name);
            let reloads = ["reload", "reads the files again"].iter().any(|word| sentence.contains(word));
            assert!(!reloads || named.contains("HUP"), "{}: `{sentence}`", page.name);
        }
    }
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_sidestream")).arg("--help").output().expect("the program");
    let help = String::from_utf8(output.stdout).expect("text");
    let (_, codes) = help.split_once("Exit codes:\n").expect("exit codes");
    let codes = codes.lines().next().unwrap_or_default().trim();
    // As in `0  success    1  failed while running`.
    let known: Vec<(&str, &str)> = codes.split("    ").filter_map(|code| code.split_once("  ")).collect();
    assert!(known.len() > 2, "{codes}");
    let page = document("docs/operations.md");
    let rows = rows(section(&page, "Check and watch"));
    let rows: Vec<_> = rows.iter().filter(|row| row[0].parse::<u8>().is_ok()).collect();
    assert_eq!(rows.len(), known.len(), "{rows:?}");
    for (row, (code, meaning)) in rows.iter().zip(known) {
        assert!(row[0] == code && row[1].starts_with(meaning), "{row:?} is not {code}: {meaning}");
    }
}

#[test]
fn the_figures_of_the_unit_are_those_of_its_file() {
    let unit = document("systemd/sidestream.service");
    let value = |key: &str| {
        let value = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let page = document("docs/operations.md");
    let file = format!("`LimitNOFILE=` ({} in the unit", value("LimitNOFILE"));
    assert!(page.contains(&file), "{file}");
    let watchdog =
        [format!("(watchdog, {} s)", value("WatchdogSec")), format!("watchdog ({} s)", value("WatchdogSec"))];
    assert!(page.contains(&watchdog[0]), "{watchdog:?}");
    assert_eq!(page.matches("watchdog (").count(), page.matches(&watchdog[1]).count(), "{watchdog:?}");
}

/// As in `sidestream_0.1.0_amd64.deb` and `sidestream:0.1.0`.
#[test]
fn commands_name_this_version() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for piece in pages().iter().filter(|page| page.name != "CHANGELOG.md").flat_map(Page::all_code) {
        for (at, name) in piece.text.match_indices("sidestream") {
            let rest = &piece.text[at + name.len()..];
            let version = rest
                .strip_prefix(['_', ':', '-'])
                .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            // Ports are digits too.
            let Some(version) = version.filter(|version| version.contains('.')) else { continue };
            count += 1;
            if !version.starts_with(env!("CARGO_PKG_VERSION")) {
                wrong.push(piece.clone());
            }
        }
    }
    assert!(count > 0, "no version");
    all_exist(&wrong);
}
