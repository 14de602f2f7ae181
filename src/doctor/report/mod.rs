//! What a probe tells: a line for each test, the findings, a picture of a stream; or all of it as JSON.

mod answer;
mod json;
mod lines;
mod picture;
mod text;

pub use answer::{answer, answers_json};
pub use json::json;
pub use lines::Lines;
pub use picture::picture;
pub use text::{answers_report, interrupted_report, report};

/// How wide what is printed may be: that of a terminal that nobody has widened.
pub const WIDTH: usize = 80;

/// Characters of a point's name that are printed.
const NAME: usize = 20;

/// The name of a point, as it is printed in lines with other things.
pub fn short(name: &str) -> String {
    match name.char_indices().nth(NAME) {
        None => name.to_owned(),
        Some(_) => name.chars().take(NAME - 1).chain(['…']).collect(),
    }
}

/// Breaks a text into lines of at most `width` characters, at blanks. A word that is longer has a line of its own.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The colours of a terminal, or none of them (no-color.org).
#[derive(Clone, Copy, Debug, Default)]
pub struct Colours {
    pub are_on: bool,
}

impl Colours {
    fn paint(self, code: &str, text: &str) -> String {
        if self.are_on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub fn doubtful(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }
}
