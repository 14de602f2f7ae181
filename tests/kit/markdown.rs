//! The documents of this repository, as far as tests read them: prose, headings, links, code spans and code blocks.

use std::path::{Path, PathBuf};

/// A Markdown file.
pub struct Page {
    /// Its path from the top of the repository.
    pub name: String,
    /// Everything but code blocks, which are empty lines here.
    pub prose: String,
    pub code: Vec<CodeBlock>,
}

pub struct CodeBlock {
    /// Where the block begins, as `name:line`.
    pub place: String,
    /// The language after the fence; empty for indented code.
    pub language: String,
    pub text: String,
}

/// A piece of prose, with its place as `name:line`.
#[derive(Clone)]
pub struct Piece {
    pub place: String,
    pub text: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The paths of all files from the top of the repository, without those that `.gitignore` names.
pub fn files() -> Vec<String> {
    let ignored = read(&root().join(".gitignore"));
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).chain([".git"]).collect();
    let is_ignored = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        ignored.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => *pattern == path || *pattern == name,
        })
    };
    let mut files = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = relative(&path);
            match () {
                () if is_ignored(&name) => {}
                () if path.is_dir() => folders.push(path),
                () => files.push(name),
            }
        }
    }
    files.sort_unstable();
    files
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("a path of this repository").display().to_string()
}

/// All Markdown files.
pub fn pages() -> Vec<Page> {
    let names = files().into_iter().filter(|name| Path::new(name).extension().is_some_and(|end| end == "md"));
    names.map(|name| Page::parse(&read(&root().join(&name)), name)).collect()
}

/// Whether most names on a page are those of other programs.
pub fn is_foreign(page: &Page) -> bool {
    page.name.starts_with("docs/in-front-of/") || page.name.starts_with("docs/behind/")
}

/// Fails with the places of all names that do not exist.
#[track_caller]
pub fn all_exist(missing: &[Piece]) {
    let lines: Vec<String> = missing.iter().map(|piece| format!("{}: {}", piece.place, piece.text)).collect();
    assert!(missing.is_empty(), "these do not exist or are wrong:\n{}", lines.join("\n"));
}

impl Page {
    fn parse(text: &str, name: String) -> Self {
        let mut page = Self { name, prose: String::new(), code: Vec::new() };
        let mut is_fenced = false;
        // Whether the line before is empty or indented code: only there does indented code begin or go on.
        let mut may_indent = true;
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            let is_indented = !is_fenced && line.starts_with("    ") && may_indent;
            if let Some(language) = fence.filter(|_| !is_indented) {
                is_fenced = !is_fenced;
                if is_fenced {
                    page.begin_code(number, language.trim());
                }
            } else if is_fenced || is_indented {
                if is_indented && !is_code {
                    page.begin_code(number, "");
                }
                let code = page.code.last_mut().expect("a block was begun");
                code.text.push_str(line);
                code.text.push('\n');
            } else {
                page.prose.push_str(line);
            }
            page.prose.push('\n');
            is_code = is_indented;
            may_indent = line.trim().is_empty() || is_indented;
        }
        page
    }

    fn begin_code(&mut self, number: usize, language: &str) {
        let place = format!("{}:{}", self.name, number + 1);
        self.code.push(CodeBlock { place, language: language.to_owned(), text: String::new() });
    }

    /// The folder in which relative links begin.
    pub fn folder(&self) -> PathBuf {
        root().join(&self.name).parent().expect("a file is in a folder").to_owned()
    }

    /// The code spans; one that a line break divides has a space there.
    pub fn spans(&self) -> Vec<Piece> {
        self.spans_at().into_iter().map(|(at, text)| self.piece(at, &text)).collect()
    }

    fn spans_at(&self) -> Vec<(usize, String)> {
        let mut spans = Vec::new();
        let mut begin = 0;
        for paragraph in self.prose.split_inclusive("\n\n") {
            let mut rest = paragraph;
            while let Some((before, span)) = rest.split_once('`') {
                let ticks = 1 + span.len() - span.trim_start_matches('`').len();
                let span = &span[ticks - 1..];
                let Some((text, after)) = span.split_once(&"`".repeat(ticks)) else { break };
                let at = begin + paragraph.len() - rest.len() + before.len();
                spans.push((at, text.split_whitespace().collect::<Vec<_>>().join(" ")));
                rest = after;
            }
            begin += paragraph.len();
        }
        spans
    }

    /// The targets of links: in brackets, such as `metrics.md#what-counts`, in definitions of references, and of images.
    pub fn links(&self) -> Vec<Piece> {
        let targets = |open: &'static str, close: char| {
            self.prose.match_indices(open).filter_map(move |(at, _)| {
                let (target, _) = self.prose[at + open.len()..].split_once(close)?;
                Some(self.piece(at, target))
            })
        };
        let definitions = self.lines().into_iter().filter_map(|line| {
            let (_, target) = line.text.strip_prefix('[')?.split_once("]: ")?;
            Some(Piece { text: target.trim().to_owned(), ..line.clone() })
        });
        targets("](", ')')
            .chain(targets("src=\"", '"'))
            .chain(targets("href=\"", '"'))
            .chain(definitions)
            .collect()
    }

    /// The lines of the prose.
    pub fn lines(&self) -> Vec<Piece> {
        let piece = |(number, line): (usize, &str)| Piece {
            place: format!("{}:{}", self.name, number + 1),
            text: line.to_owned(),
        };
        self.prose.lines().enumerate().map(piece).collect()
    }

    /// What a link may name after `#`: the headings in lower case, with dashes for blanks and without punctuation.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        let titles = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
        let is_part = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
        titles.map(|title| title.chars().filter(is_part).collect::<String>().replace(' ', "-")).collect()
    }

    fn piece(&self, at: usize, text: &str) -> Piece {
        let line = self.prose[..at].matches('\n').count() + 1;
        Piece { place: format!("{}:{line}", self.name), text: text.to_owned() }
    }

    /// The lines of blocks with commands and what they print, without comments.
    pub fn shell_lines(&self) -> Vec<Piece> {
        let is_shell = |block: &&CodeBlock| matches!(block.language.as_str(), "" | "sh" | "bash" | "console");
        let lines = self.code.iter().filter(is_shell).flat_map(|block| {
            let piece = |line: &str| Piece { place: block.place.clone(), text: line.to_owned() };
            block.text.lines().filter_map(|line| line.split(" # ").next()).map(piece).collect::<Vec<_>>()
        });
        lines.collect()
    }

    /// The text of all code: spans and the lines of blocks.
    pub fn all_code(&self) -> Vec<Piece> {
        let blocks = self.code.iter().flat_map(|block| {
            let piece = |line: &str| Piece { place: block.place.clone(), text: line.trim().to_owned() };
            block.text.lines().map(piece).collect::<Vec<_>>()
        });
        self.spans().into_iter().chain(blocks).collect()
    }
}
