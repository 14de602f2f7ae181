//! The pages of `docs/behind/`: sidestream behind other proxies, as it is configured there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sidestream::config;
use sidestream::doctor::hops::{DefaultLimit, Hops, LimitKind, Product};

const SIDESTREAM_FILE: &str = "# /etc/sidestream/sidestream.yaml\n";

/// The pages, by the ids that their products have in `src/doctor/hops.yaml`.
const PAGES: [&str; 7] = ["nginx", "ingress-nginx", "haproxy", "envoy", "caddy", "cloudflare", "aws-alb"];
const MAX_LINES: usize = 80;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/behind")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.md"))).expect("a page")
}

/// The configuration of sidestream on a page.
fn sidestream_of(name: &str) -> String {
    let text = page(name);
    let mut blocks = text.split("```yaml\n").filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.starts_with(SIDESTREAM_FILE)).expect("a configuration").to_owned()
}

/// The limits of a product in the words of the index, the most important first.
fn limits(product: &Product) -> Vec<String> {
    let in_words = |limit: &DefaultLimit| {
        let has = |kind| limit.kinds.contains(&kind);
        let kind = match () {
            () if has(LimitKind::Absolute) => "for the whole response",
            () if has(LimitKind::Header) && has(LimitKind::Idle) => "of silence, before and after the header",
            () if has(LimitKind::Header) => "of silence before the header",
            () => "of silence",
        };
        format!("{} s {kind}", limit.seconds)
    };
    product.limits.iter().map(in_words).collect()
}

/// Whether a cell names the first limit, and nothing that is not in the list.
fn is_limit(cell: &str, known: &[String]) -> bool {
    let Some(first) = known.first() else { return cell == "none" };
    // Later limits may be shortened, and a condition may replace what follows `of silence`.
    let starts = |text: &str, known: &str| {
        let start = known.split(',').next().unwrap_or_default();
        text == known || text == start || text.starts_with(&format!("{start} as "))
    };
    let Some((_, rest)) = cell.split_once(" s ") else { return false };
    let more =
        rest.match_indices(", ").find(|(at, _)| rest[at + 2..].starts_with(|c: char| c.is_ascii_digit()));
    let end = more.map_or(cell.len(), |(at, _)| cell.len() - rest.len() + at);
    let is_rest_known =
        cell.get(end + 2..).is_none_or(|more| known.iter().skip(1).any(|known| starts(more, known)));
    starts(&cell[..end], first) && is_rest_known
}

#[test]
fn the_index_has_every_page_with_the_limit_that_the_doctor_knows() {
    let files = std::fs::read_dir(folder()).expect("a folder");
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let found: BTreeSet<_> = files.filter_map(|file| stem(file.expect("a file").path())).collect();
    let known: BTreeSet<_> = PAGES.into_iter().chain(["README"]).map(str::to_owned).collect();
    assert_eq!(found, known);
    let index = page("README");
    for name in PAGES {
        let row = index.lines().find(|line| line.contains(&format!("]({name}.md) |"))).expect("a row");
        let cells: Vec<&str> = row.split(" | ").collect();
        let [.., limit, line] = cells[..] else { panic!("{row}") };
        let product = Hops::read().product(name).expect("a product");
        let known = limits(product);
        assert!(is_limit(limit, &known), "`{limit}` is not `{}` in `{row}`", known.join(", "));
        let text = page(name);
        for directive in line.split('`').skip(1).step_by(2) {
            assert!(text.contains(directive), "{name}.md has no `{directive}`");
        }
    }
    let count = format!("covers {} products", Hops::read().products.len());
    assert!(index.contains(&count), "the index does not say `{count}`");
}

#[test]
fn each_page_has_a_valid_configuration_of_sidestream_that_trusts_its_proxy() {
    for name in PAGES {
        let yaml = sidestream_of(name);
        if let Err(mistakes) = config::parse(&yaml, name) {
            panic!("{mistakes}");
        }
        assert!(yaml.contains("trusted_proxies:"), "{name}");
    }
}

#[test]
fn each_page_is_short_and_says_how_it_was_tested_how_to_verify_and_what_remains() {
    for name in PAGES {
        let text = page(name);
        assert!(text.lines().count() <= MAX_LINES, "{name} has {} lines", text.lines().count());
        assert!(text.contains("\nTested with ") || text.contains("\nRead "), "{name}");
        for part in ["\n## Why each line\n", "(README.md#verify)", "\n## What remains\n"] {
            assert!(text.contains(part), "{name} has no `{}`", part.trim());
        }
    }
}

/// What `make check` leaves out.
mod real_programs {
    use crate::kit::drive;

    #[test]
    fn streams_pass_the_configurations_on_the_pages_and_backends_learn_who_asks_and_who_left() {
        drive("doctor/behind.py", &[]);
    }
}
