//! The pages of `docs/behind/`: sidestream behind other proxies, as it is configured there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sidestream::config;
use sidestream::doctor::hops::Hops;

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
        let product = Hops::read().product(name).expect("a product");
        let limit = product.limits.first().map_or("none".to_owned(), |limit| format!("{} s", limit.seconds));
        assert!(row.contains(&limit), "`{limit}` is not in `{row}`");
    }
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
