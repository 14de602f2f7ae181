//! Every command line of sidestream in the documents is one that it accepts.

use clap::CommandFactory;

use super::Cli;

#[path = "../../tests/kit/markdown.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod markdown;

use markdown::{Piece, pages};

/// The words of a sidestream command, up to a comment or the next command of the shell; quotes hold words together.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ").trim_start_matches("sudo ");
    let arguments = line.strip_prefix("target/release/").unwrap_or(line).strip_prefix("sidestream ")?;
    let mut words = vec!["sidestream".to_owned()];
    let mut word = String::new();
    let mut quote = None;
    for c in arguments.chars().chain([' ']) {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            (' ', None) if matches!(word.as_str(), "#" | "|" | "&&" | ">" | "&") => break,
            (' ', None) if word.is_empty() => {}
            (' ', None) => words.push(std::mem::take(&mut word)),
            // A synopsis has brackets around what may be left out.
            ('[' | ']', None) if !word.starts_with("http") => {}
            (c, _) => word.push(c),
        }
    }
    Some(words)
}

/// The command lines of all code blocks. In a transcript (`console`) they begin with `$ `.
fn command_lines() -> Vec<Piece> {
    let blocks = pages().into_iter().flat_map(|page| page.code);
    let lines = blocks.flat_map(|block| {
        let text = block.text.replace("\\\n", " ");
        let is_command = |line: &&str| block.language != "console" || line.starts_with("$ ");
        let lines: Vec<String> = text.lines().filter(is_command).map(str::to_owned).collect();
        lines.into_iter().map(move |text| Piece { text, place: block.place.clone() })
    });
    lines.filter(|line| command(&line.text).is_some()).collect()
}

#[test]
fn the_command_lines_of_the_documents_are_accepted() {
    let lines = command_lines();
    assert!(lines.len() > 10, "{} command lines", lines.len());
    let refusal = |line: Piece| {
        let error = Cli::command().try_get_matches_from(command(&line.text)?).err()?;
        Some(format!("{}: {}\n{error}", line.place, line.text))
    };
    all_hold(lines.into_iter().filter_map(refusal));
}

/// Code spans name commands without all that they require.
#[test]
fn the_commands_and_flags_that_the_documents_name_exist() {
    let cli = Cli::command();
    let mistake = |span: Piece| {
        let words = command(&span.text)?;
        let name = words.get(1).filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))?;
        let Some(subcommand) = cli.find_subcommand(name) else {
            return Some(format!("{}: there is no `sidestream {name}`", span.place));
        };
        let unknown = words.iter().find(|word| word.starts_with("--") && !has_flag(subcommand, word))?;
        Some(format!("{}: `sidestream {name}` has no {unknown}", span.place))
    };
    all_hold(spans().filter_map(mistake));
}

/// Their failures look like those of the process.
#[test]
fn the_health_checks_of_the_containers_are_accepted() {
    let image = include_str!("../../conf/container/Containerfile");
    let line = image.lines().find(|line| line.starts_with("HEALTHCHECK")).expect("a health check");
    let (_, image) = line.split_once(" CMD ").expect("a command");
    let image: Vec<String> = serde_yaml::from_str(image).expect("a list");
    let compose = include_str!("../../examples/compose/compose.yaml");
    let compose: serde_yaml::Value = serde_yaml::from_str(compose).expect("YAML");
    let compose = compose["services"]["sidestream"]["healthcheck"]["test"].clone();
    let compose: Vec<String> = serde_yaml::from_value(compose).expect("a list");
    for words in [&image[..], &compose[1..]] {
        let matches = Cli::command().try_get_matches_from(words).expect("a command");
        assert_eq!(matches.subcommand_name(), Some("health"));
    }
}

fn spans() -> impl Iterator<Item = Piece> {
    pages().into_iter().flat_map(|page| page.spans())
}

fn has_flag(command: &clap::Command, flag: &str) -> bool {
    let flag = flag.split('=').next().unwrap_or_default();
    let mut known = command.get_arguments().filter_map(clap::Arg::get_long);
    flag == "--help" || known.any(|long| flag.strip_prefix("--") == Some(long))
}

fn all_hold(mistakes: impl Iterator<Item = String>) {
    let mistakes: Vec<String> = mistakes.collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}
