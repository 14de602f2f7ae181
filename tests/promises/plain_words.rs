//! The documents are easy to read: no sentence is too long.

use std::process::Command;

use crate::kit::markdown::root;

/// Words. The aim is 35; a sentence beyond this limit has to be divided.
const LONGEST_SENTENCE: &str = "40";

#[test]
fn no_sentence_of_the_documents_is_longer_than_40_words() {
    let mut script = Command::new("python3");
    script.arg(root().join("scripts/long-sentences")).args(["--over", LONGEST_SENTENCE]);
    let output = script.output().expect("python3, which scripts/long-sentences needs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
