//! A page of the documentation as what it shows: its fenced blocks and its commands. Nothing is run here.

use std::fs;
use std::path::{Path, PathBuf};

/// What stands between two fences.
pub struct Block {
    pub language: String,
    pub text: String,
}

/// A page, by its path in the repository.
pub struct Page {
    pub name: String,
    pub text: String,
    pub blocks: Vec<Block>,
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all pages.
pub fn names() -> Vec<String> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    names.extend(docs.filter(is_page).map(|path| format!("docs/{}", path.file_name().unwrap().display())));
    names.sort();
    names
}

impl Page {
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(root().join(name)).unwrap();
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for line in text.lines() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(language), None) => open = Some(Block { language: language.to_owned(), text: String::new() }),
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{name}: a block is not closed");
        Self { name: name.to_owned(), text, blocks }
    }

    /// Every command shown: the lines of `sh` blocks, and what stands between backticks in the text.
    pub fn commands(&self) -> Vec<String> {
        let shown = self.blocks.iter().filter(|block| block.language == "sh").flat_map(|block| block.text.lines());
        let mut commands: Vec<String> = shown.flat_map(parts).collect();
        let mut inside = false;
        for line in self.text.lines() {
            if line.starts_with("```") {
                inside = !inside;
            } else if !inside {
                commands.extend(line.split('`').skip(1).step_by(2).flat_map(parts));
            }
        }
        commands
    }
}

/// The commands of a line that are joined by `&&` or a pipe, without what is explained behind them.
pub fn parts(line: &str) -> Vec<String> {
    let line = line.split("  #").next().unwrap_or(line).trim();
    if line.starts_with('#') {
        return Vec::new();
    }
    let parts = line.split(" && ").flat_map(|part| part.split(" | "));
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// A command's words, quotes taken off, up to a redirection or an ampersand.
pub fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '&' | '>') => break,
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
