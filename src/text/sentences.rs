//! A passage as sentences: English and CJK punctuation, abbreviations, and Markdown blocks, each sentence in plain words.
//! It says what kind of text a sentence was, and leaves it to others which ones are worth quoting.

use super::markup::{self, plain};
use super::terms::is_cjk;
use std::ops::Range;

/// What a sentence was in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Running text or a list's item.
    Prose,
    /// A title: context for the sentences below it, never an answer by itself.
    Heading,
    /// A row of a table or a line of code: quoted only when no prose answers.
    Aside,
}

/// One sentence in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sentence {
    /// The words.
    pub(crate) text: String,
    /// What it was.
    pub(crate) kind: Kind,
}

/// Words that end in a full stop and do not end a sentence.
const ABBREVIATIONS: &[&str] = &[
    "al", "approx", "ca", "cf", "dr", "e.g", "eg", "i.e", "ie", "incl", "mr", "mrs", "ms", "prof", "resp", "st", "viz",
    "vs",
];
/// Words that do so before a number (`fig. 3`, `no. 5`).
const COUNTED: &[&str] = &["art", "ch", "eq", "fig", "no", "nos", "p", "pp", "sec", "vol"];

/// The sentences of a text, in order.
pub(crate) fn sentences(text: &str) -> Vec<Sentence> {
    let mut reader = Reader::default();
    for line in text.lines() {
        reader.line(line);
    }
    reader.end_paragraph();
    reader.found
}

/// Reads lines, gathers the lines of a paragraph, and splits it when it ends.
#[derive(Default)]
struct Reader {
    found: Vec<Sentence>,
    paragraph: String,
    paragraph_lines: usize,
    fence: Option<(char, usize)>,
    in_list: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(open) = self.fence {
            if markup::closes(line, open) {
                self.fence = None
            } else {
                self.add(line.trim(), Kind::Aside)
            }
            return;
        }
        if let Some(open) = markup::fence(line) {
            self.end_paragraph();
            self.fence = Some(open);
        } else if line.trim().is_empty() {
            self.end_paragraph();
        } else if let Some((_, title)) = markup::heading(line) {
            self.end_paragraph();
            self.in_list = false;
            self.add(&plain(title), Kind::Heading);
        } else if self.paragraph_lines == 1 && markup::underline(line).is_some() {
            let title = std::mem::take(&mut self.paragraph);
            self.paragraph_lines = 0;
            self.add(&plain(&title), Kind::Heading);
        } else if markup::is_noise(line) {
            self.end_paragraph();
        } else if markup::is_table_row(line) {
            self.end_paragraph();
            self.add(&plain(line.trim().trim_matches('|')), Kind::Aside);
        } else {
            self.text(line);
        }
    }

    fn text(&mut self, line: &str) {
        if let Some(item) = markup::list_item(line) {
            self.end_paragraph();
            self.in_list = true;
            return self.gather(item);
        }
        let indented = line.starts_with("    ") || line.starts_with('\t');
        if self.paragraph_lines == 0 && indented && !self.in_list {
            return self.add(line.trim(), Kind::Aside);
        }
        self.in_list &= indented || self.paragraph_lines > 0 || line.starts_with(' ');
        self.gather(line.trim_start_matches(['>', ' ', '\t']));
    }

    /// Lines are joined by a space, but not between two CJK characters, where a line's end is no word's end.
    fn gather(&mut self, line: &str) {
        let seam = self.paragraph.chars().next_back().zip(line.chars().next());
        if seam.is_some_and(|(before, after)| !(is_wide(before) && is_wide(after))) {
            self.paragraph.push(' ');
        }
        self.paragraph.push_str(line.trim_end());
        self.paragraph_lines += 1;
    }

    fn end_paragraph(&mut self) {
        let paragraph = std::mem::take(&mut self.paragraph);
        self.paragraph_lines = 0;
        for sentence in split(&plain(&paragraph)) {
            self.add(sentence, Kind::Prose);
        }
    }

    fn add(&mut self, text: &str, kind: Kind) {
        if text.chars().any(char::is_alphanumeric) {
            self.found.push(Sentence { text: text.to_owned(), kind });
        }
    }
}

fn is_wide(c: char) -> bool {
    is_cjk(c) || is_wide_end(c) || matches!(c, '，' | '、' | '；' | '：' | '」' | '』' | '（' | '）')
}

fn is_wide_end(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '｡' | '．')
}

fn is_end(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…')
}

fn is_closer(c: char) -> bool {
    matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '」' | '』' | '）' | '】' | '》')
}

/// Plain text as its sentences.
fn split(text: &str) -> Vec<&str> {
    let parts = spans(text).into_iter().map(|span| text[span].trim());
    parts.filter(|part| !part.is_empty()).collect()
}

/// Where a text's sentences stand in it, without gaps: white space belongs to the sentence after it.
pub(crate) fn spans(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut begin = 0;
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        if !is_end(c) && !is_wide_end(c) {
            continue;
        }
        let mut end = at + c.len_utf8();
        while let Some((next, mark)) = rest.next_if(|(_, c)| is_end(*c) || is_wide_end(*c) || is_closer(*c)) {
            end = next + mark.len_utf8();
        }
        if ends_here(&text[begin..at], &text[at..end], &text[end..]) {
            spans.push(begin..end);
            begin = end;
        }
    }
    spans.push(begin..text.len());
    spans
}

/// Whether a sentence ends at these marks, between what came before and what comes after.
fn ends_here(before: &str, marks: &str, after: &str) -> bool {
    if marks.chars().any(is_wide_end) || after.is_empty() {
        return true;
    }
    if !after.starts_with(char::is_whitespace) {
        return false;
    }
    let Some(next) = after.trim_start().chars().next() else { return true };
    if marks.contains(['!', '?']) {
        return true;
    }
    if next.is_lowercase() {
        return false;
    }
    let word = before.rsplit([' ', '\n', '(', '[', '"', '“', '\u{a0}']).next().unwrap_or_default();
    marks != "." || !is_abbreviation(word, next)
}

fn is_abbreviation(word: &str, next: char) -> bool {
    let lower = word.to_lowercase();
    let is_initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let is_initials = word.contains('.') && word.split('.').all(|part| part.chars().count() == 1);
    is_initial
        || is_initials
        || ABBREVIATIONS.binary_search(&lower.as_str()).is_ok()
        || next.is_ascii_digit() && COUNTED.binary_search(&lower.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prose(text: &str) -> Vec<String> {
        sentences(text).into_iter().filter(|found| found.kind == Kind::Prose).map(|found| found.text).collect()
    }

    #[test]
    fn the_word_lists_are_sorted_for_the_binary_search() {
        assert!(ABBREVIATIONS.is_sorted() && COUNTED.is_sorted());
    }

    #[test]
    fn english_sentences_end_at_their_full_stops_only() {
        assert_eq!(
            prose(
                "Use a store, e.g. SQLite 3.4, vs. Redis. See fig. 3 by Dr. J. R. Smith in the U.S. Army! Why? \"So.\" No."
            ),
            [
                "Use a store, e.g. SQLite 3.4, vs. Redis.",
                "See fig. 3 by Dr. J. R. Smith in the U.S. Army!",
                "Why?",
                "\"So.\"",
                "No."
            ]
        );
        assert_eq!(
            prose("Open main.rs and wait... then go. It is v1.2. Done"),
            ["Open main.rs and wait... then go.", "It is v1.2.", "Done"]
        );
        assert_eq!(prose("The answer is no. Then 5 came."), ["The answer is no.", "Then 5 came."]);
    }

    #[test]
    fn cjk_sentences_end_at_their_own_marks_without_spaces() {
        assert_eq!(
            prose("任務不會遺失。為什麼？因為「先提交。」再回答！還有"),
            ["任務不會遺失。", "為什麼？", "因為「先提交。」", "再回答！", "還有"]
        );
        assert_eq!(
            prose("タスクは失われない。\nストアは一つ\nだけです。"),
            ["タスクは失われない。", "ストアは一つだけです。"]
        );
    }

    #[test]
    fn markdown_blocks_are_told_apart_and_stripped() {
        let text = "# The **store**\n\nIt is the only\nmemory. Masters\nare [stateless](x.md).\n\n- one `item`\n  goes on\n\
                    2. two\n\n| a | b |\n|---|---|\n| *c* | d |\n\n```sh\nrun it\n```\n> quoted text\n\nTitle\n=====\nEnd";
        let found: Vec<_> = sentences(text).into_iter().map(|found| (found.kind, found.text)).collect();
        let expected = [
            (Kind::Heading, "The store"),
            (Kind::Prose, "It is the only memory."),
            (Kind::Prose, "Masters are stateless."),
            (Kind::Prose, "one item goes on"),
            (Kind::Prose, "two"),
            (Kind::Aside, "a | b"),
            (Kind::Aside, "c | d"),
            (Kind::Aside, "run it"),
            (Kind::Prose, "quoted text"),
            (Kind::Heading, "Title"),
            (Kind::Prose, "End"),
        ];
        assert_eq!(found, expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn indented_lines_are_code_unless_they_continue_a_list() {
        let kinds: Vec<_> = sentences("Run:\n\n    make it\n\n- item\n\n    its second paragraph")
            .into_iter()
            .map(|found| found.kind)
            .collect();
        assert_eq!(kinds, [Kind::Prose, Kind::Aside, Kind::Prose, Kind::Prose]);
    }

    proptest! {
        #[test]
        fn every_sentence_of_plain_text_is_a_part_of_it(text in "([A-Za-z]{1,8}[.!?。, ]{1,2}|[任務失敗再試]{1,4}[。！？]?){0,20}") {
            let whole = plain(&text);
            for sentence in split(&whole) {
                prop_assert!(whole.contains(sentence));
            }
            prop_assert_eq!(split(&whole).concat().replace(' ', ""), whole.replace(' ', ""));
        }
    }
}
