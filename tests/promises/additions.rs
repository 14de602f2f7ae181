//! What is added to the program is added everywhere: to the tests, the sample file and the documents. CONTRIBUTING.md says how.

use serde_yaml::Value;
use sidestream::config::{self, effective_yaml};
use sidestream::session::dialect;

use crate::session::streams::answers;

const SAMPLE: &str = include_str!("../../conf/sidestream.yaml");

/// The words that a key takes, as the message about another one lists them.
fn words_of_balance() -> Vec<String> {
    let yaml = "listeners: [{ address: 127.0.0.1:0 }]\n\
                upstreams: { llm: { servers: [http://127.0.0.1:8000], balance: '' } }\n";
    let error = config::parse(yaml, "my.yaml").expect_err("a mistake").to_string();
    let (_, remedy) = error.split_once("write ").expect("a remedy");
    remedy.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The keys that have a value, of a mapping and of all below it.
fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping.iter().filter(|(_, value)| !value.is_null()) {
                found.push(key.as_str().expect("a name").to_owned());
                keys(value, found);
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

fn keys_of(yaml: &str) -> Vec<String> {
    let mut found = Vec::new();
    keys(&serde_yaml::from_str(yaml).expect("YAML"), &mut found);
    found
}

/// Whether this is a word of the text, and not a part of one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).any(|other| other == word)
}

#[test]
fn every_dialect_has_a_whole_answer_in_the_tests_and_its_name_in_the_sample_file() {
    let answers = answers();
    for dialect in dialect::ALL {
        let name = dialect.name;
        assert!(answers.iter().any(|answer| answer.dialect == name), "no answer in `{name}` is tested");
        assert!(has_word(SAMPLE, name), "conf/sidestream.yaml does not name `{name}` at `dialect`");
    }
}

#[test]
fn the_sample_file_has_the_keys_that_check_prints_and_check_prints_those_of_the_sample_file() {
    // Over TLS, or its keys are not printed.
    let sample = SAMPLE.replace("- http://127.0.0.1:8000", "- https://127.0.0.1:8000");
    let config = config::parse(&sample, "conf/sidestream.yaml").expect("a valid file");
    let printed = keys_of(&effective_yaml(&config));
    for key in &printed {
        assert!(SAMPLE.contains(&format!("{key}:")), "conf/sidestream.yaml lacks `{key}`");
    }
    for key in keys_of(&sample) {
        assert!(printed.contains(&key), "src/config/effective.rs does not print `{key}`");
    }
}

#[test]
fn every_way_to_balance_is_documented() {
    let page = include_str!("../../docs/servers.md");
    let words = words_of_balance();
    assert!(words.len() >= 4, "{words:?}");
    for word in words {
        assert!(page.contains(&format!("| `{word}` |")), "docs/servers.md has no row for `{word}`");
        assert!(has_word(SAMPLE, &word), "conf/sidestream.yaml does not name `{word}` at `balance`");
    }
}
