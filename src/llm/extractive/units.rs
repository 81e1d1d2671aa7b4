//! A passage as what can be quoted from it: sentences, and code as whole lines together with the sentence that announces
//! it, because a command without its sentence and the sentence without its command are both half an answer.

use crate::text::markup;
use crate::text::sentences::{Kind, sentences};

/// Most lines of a block of code that are quoted; they are never cut inside.
const MAX_CODE_LINES: usize = 8;
/// Ends of sentences that announce what comes next, lower-cased.
const ANNOUNCEMENTS: &[&str] =
    &["following", "follows", "below", "example", "如下", "下列", "下面", "以下", "例如", "例子"];
/// How far from its end a sentence may say that it announces something, in characters.
const ANNOUNCED_WITHIN: usize = 40;

/// Something that can be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// A sentence or a table's row; empty when code stands alone.
    pub(super) text: String,
    /// Lines of code that belong to it.
    pub(super) code: Vec<String>,
    /// Whether it is a row of a table or code alone: quoted only when no prose answers.
    pub(super) is_aside: bool,
}

impl Unit {
    /// All its words.
    pub(super) fn words(&self) -> String {
        let mut words = self.text.clone();
        for line in &self.code {
            words.push('\n');
            words.push_str(line);
        }
        words
    }

    /// How long it is to read, in characters.
    pub(super) fn chars(&self) -> usize {
        self.text.chars().count() + self.code.iter().map(|line| line.chars().count()).sum::<usize>()
    }
}

/// What a passage holds: what can be quoted, in order, and the titles in it.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) units: Vec<Unit>,
    pub(super) titles: Vec<String>,
}

/// Reads a passage.
pub(super) fn read(text: &str) -> Reading {
    let mut reading = Reading::default();
    let mut prose = String::new();
    let mut code: Vec<&str> = Vec::new();
    let mut fence = None;
    for line in text.lines() {
        match fence {
            Some(open) if markup::closes(line, open) => {
                reading.code(&code);
                code.clear();
                fence = None;
            }
            Some(_) => code.push(line),
            None => match markup::fence(line) {
                Some(open) => {
                    reading.prose(&prose);
                    prose.clear();
                    fence = Some(open);
                }
                None => {
                    prose.push_str(line);
                    prose.push('\n');
                }
            },
        }
    }
    reading.code(&code);
    reading.prose(&prose);
    reading
}

impl Reading {
    fn prose(&mut self, text: &str) {
        for sentence in sentences(text) {
            match sentence.kind {
                Kind::Heading => self.titles.push(sentence.text),
                kind => self.units.push(Unit { text: sentence.text, code: Vec::new(), is_aside: kind == Kind::Aside }),
            }
        }
    }

    fn code(&mut self, lines: &[&str]) {
        let lines: Vec<String> = lines.iter().map(|line| line.trim_end().to_owned()).collect();
        if !lines.iter().any(|line| line.chars().any(char::is_alphanumeric)) {
            return;
        }
        let kept: Vec<String> = lines.into_iter().filter(|line| !line.trim().is_empty()).take(MAX_CODE_LINES).collect();
        match self.units.last_mut().filter(|unit| !unit.is_aside && unit.code.is_empty() && announces(&unit.text)) {
            Some(unit) => unit.code = kept,
            None => self.units.push(Unit { text: String::new(), code: kept, is_aside: true }),
        }
    }
}

/// Whether a sentence leads to what stands below it.
pub(super) fn announces(sentence: &str) -> bool {
    if sentence.ends_with([':', '：']) {
        return true;
    }
    let skipped = sentence.chars().count().saturating_sub(ANNOUNCED_WITHIN);
    let end: String = sentence.chars().skip(skipped).flat_map(char::to_lowercase).collect();
    ANNOUNCEMENTS.iter().any(|word| end.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(text: &str) -> Vec<(String, usize, bool)> {
        read(text).units.into_iter().map(|unit| (unit.text, unit.code.len(), unit.is_aside)).collect()
    }

    #[test]
    fn code_goes_with_the_sentence_that_announces_it() {
        assert_eq!(
            brief(
                "# Editors\n\nMany exist. You can change it by the following.\n\n```\n$ select editor\n\n$ check\n```\nDone."
            ),
            [
                ("Many exist.".to_owned(), 0, false),
                ("You can change it by the following.".into(), 2, false),
                ("Done.".into(), 0, false)
            ]
        );
        assert_eq!(brief("用下列指令關閉。\n```sh\nxset s off\n```"), [("用下列指令關閉。".to_owned(), 1, false)]);
        assert_eq!(brief("A fact.\n```\ncode\n```"), [("A fact.".to_owned(), 0, false), (String::new(), 1, true)]);
        assert_eq!(read("## One\n\n### Two\nText.").titles, ["One", "Two"]);
    }

    #[test]
    fn long_code_ends_at_a_line_and_open_fences_are_read() {
        let many: String = (0..30).map(|n| format!("line {n}\n")).collect();
        let reading = read(&format!("Run:\n```\n{many}"));
        assert_eq!(reading.units[0].code.len(), MAX_CODE_LINES);
        assert_eq!(reading.units[0].code[7], "line 7");
        assert_eq!(brief("```\n---\n```"), [], "rules are no code");
    }
}
