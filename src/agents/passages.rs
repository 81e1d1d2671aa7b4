//! A document as passages: paragraphs, lists, tables and code blocks of bounded size, each with the exact line on which
//! it begins and the headings above it. Nothing here reads files or ranks anything.

use crate::text::document::Document as Source;
use crate::text::{markup, sentences};
use std::ops::Range;

/// A passage has at most this many characters, unless it is a code block or a single sentence that is longer.
pub(super) const PASSAGE_CHARS: usize = 800;
/// Neighbours under one heading become one passage while they have at most this many characters together: a sentence
/// alone seldom holds all that a question asks for.
const PACKED_CHARS: usize = 600;
/// A heading path has at most this many characters: it says where a passage stands, and goes with every citation.
const HEADING_CHARS: usize = 100;
/// Front matter longer than this many lines is text after all.
const MAX_FRONT_MATTER: usize = 100;

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The first line, from 1.
    pub(super) line: u32,
    /// The words as they stand in the document.
    pub(super) text: String,
    /// The titles above it, outermost first, one per line.
    pub(super) headings: String,
}

impl Piece {
    /// The titles on one line, as a citation shows them; the outer ones give way where it becomes long.
    pub(super) fn heading_path(&self) -> Option<String> {
        let titles: Vec<&str> = self.headings.lines().filter(|title| !title.is_empty()).collect();
        let path = |from: usize| titles[from..].join(" > ");
        let fits = (0..titles.len()).find(|from| path(*from).chars().count() <= HEADING_CHARS);
        match (fits, titles.last()) {
            (Some(from), _) => Some(path(from)),
            (None, Some(last)) => Some(last.chars().take(HEADING_CHARS).collect()),
            (None, None) => None,
        }
    }
}

/// Cuts a document, in order.
pub(super) fn cut(document: &Source) -> Vec<Piece> {
    let mut pieces = cut_text(&document.text);
    for piece in &mut pieces {
        piece.line = document.place(piece.line);
    }
    pieces
}

fn cut_text(text: &str) -> Vec<Piece> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let lines = lines(&text);
    let mut blocks = Blocks::default();
    for line in lines.iter().skip(front_matter(lines.iter().map(|line| &text[line.clone()]))) {
        blocks.line(&text, line.clone());
    }
    blocks.end_block();
    let document = Document { text: &text, starts: lines.iter().map(|line| line.start).collect() };
    let found = joined(&text, blocks.found);
    let mut pieces: Vec<Piece> = found.iter().flat_map(|block| document.pieces(block)).collect();
    if pieces.is_empty() && !blocks.titles.is_empty() {
        // A document of titles alone is still worth finding.
        let lines = text.lines().zip(1..).filter(|(line, _)| line.chars().any(char::is_alphanumeric));
        pieces = lines.map(|(line, at)| Piece { line: at, text: line.into(), headings: String::new() }).collect();
    }
    pieces
}

/// The lines of a text as byte ranges without their ends.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut begin = 0;
    let mut lines: Vec<Range<usize>> = Vec::new();
    for line in text.split_inclusive('\n') {
        lines.push(begin..begin + line.trim_end_matches('\n').len());
        begin += line.len();
    }
    lines
}

/// How many lines at the beginning are front matter (`---`, settings, `---`).
fn front_matter<'a>(mut lines: impl Iterator<Item = &'a str>) -> usize {
    if lines.next() != Some("---") {
        return 0;
    }
    let mut settings = lines.take(MAX_FRONT_MATTER);
    let mut seen = 1;
    loop {
        match settings.next().map(str::trim_end) {
            Some("---" | "...") => return seen + 1,
            Some(line) if seen > 1 || line.contains(':') => seen += 1,
            _ => return 0,
        }
    }
}

/// What a block is made of, which decides how it may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prose,
    Table,
    Code,
}

/// Consecutive lines that belong together.
#[derive(Debug)]
struct Block {
    span: Range<usize>,
    kind: Kind,
    headings: String,
    /// Where its own heading begins, when it is the first block under it.
    heading_from: Option<usize>,
}

/// Reads lines and finds the blocks.
#[derive(Default)]
struct Blocks {
    found: Vec<Block>,
    open: Option<(Range<usize>, Kind)>,
    open_lines: usize,
    fence: Option<(char, usize)>,
    titles: Vec<(usize, String)>,
    heading_from: Option<usize>,
}

impl Blocks {
    fn line(&mut self, text: &str, span: Range<usize>) {
        let line = &text[span.clone()];
        if let Some(open) = self.fence {
            self.extend(span, Kind::Code);
            if markup::closes(line, open) {
                self.fence = None;
                self.end_block();
            }
        } else if let Some(open) = markup::fence(line) {
            self.end_block();
            self.fence = Some(open);
            self.extend(span, Kind::Code);
        } else if line.trim().is_empty() {
            self.end_block();
        } else if let Some((level, title)) = markup::heading(line) {
            self.end_block();
            self.title(level, title, span.start);
        } else if let Some((level, above)) = self.underlined(line) {
            self.open = None;
            self.title(level, &text[above.clone()], above.start);
        } else if markup::is_table_row(line) {
            self.extend(span, Kind::Table);
        } else if markup::is_noise(line) {
            self.end_block();
        } else {
            self.extend(span, Kind::Prose);
        }
    }

    /// The single line of prose above, when this line makes it a heading.
    fn underlined(&self, line: &str) -> Option<(usize, Range<usize>)> {
        let (above, _) = self.open.as_ref().filter(|(_, kind)| *kind == Kind::Prose && self.open_lines == 1)?;
        Some((markup::underline(line)?, above.clone()))
    }

    fn title(&mut self, level: usize, title: &str, from: usize) {
        self.titles.retain(|(above, _)| *above < level);
        self.titles.push((level, markup::plain(title)));
        self.heading_from = Some(from);
    }

    fn extend(&mut self, span: Range<usize>, kind: Kind) {
        if self.open.as_ref().is_some_and(|(_, open)| *open != kind) {
            self.end_block();
        }
        match &mut self.open {
            Some((open, _)) => open.end = span.end,
            None => self.open = Some((span, kind)),
        }
        self.open_lines += 1;
    }

    fn end_block(&mut self) {
        self.open_lines = 0;
        let Some((span, kind)) = self.open.take() else { return };
        let titles: Vec<&str> = self.titles.iter().map(|(_, title)| title.as_str()).collect();
        let heading_from = self.heading_from.take();
        self.found.push(Block { span, kind, headings: titles.join("\n"), heading_from });
    }
}

/// Joins a block that announces the next one (`such as:`) with it, where the two fit in one passage, and short neighbours
/// under one heading.
fn joined(text: &str, blocks: Vec<Block>) -> Vec<Block> {
    let mut joined: Vec<Block> = Vec::new();
    for block in blocks {
        let neighbour = joined.last_mut().filter(|above| {
            let from = above.heading_from.unwrap_or(above.span.start);
            let together = &text[from..block.span.end];
            let announced = above.kind == Kind::Prose && text[above.span.clone()].trim_end().ends_with([':', '：']);
            block.heading_from.is_none() && within(together, if announced { PASSAGE_CHARS } else { PACKED_CHARS })
        });
        match neighbour {
            Some(above) => (above.span.end, above.kind) = (block.span.end, block.kind),
            None => joined.push(block),
        }
    }
    joined
}

fn fits(text: &str) -> bool {
    within(text, PASSAGE_CHARS)
}

fn within(text: &str, chars: usize) -> bool {
    text.len() <= chars || text.chars().count() <= chars
}

/// A document's text with the beginnings of its lines.
struct Document<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl Document<'_> {
    fn pieces(&self, block: &Block) -> Vec<Piece> {
        let text = self.text;
        // The heading goes with its first block, so that a passage read alone says what it is about.
        let from = block.heading_from.filter(|from| fits(&text[*from..block.span.end])).unwrap_or(block.span.start);
        let whole = from..block.span.end;
        let spans = if block.kind == Kind::Code || fits(&text[whole.clone()]) {
            vec![whole]
        } else {
            packed(text, units(text, block))
        };
        spans.into_iter().filter_map(|span| self.piece(span, block)).collect()
    }

    /// The passage of a span; none when nothing in it is a word.
    fn piece(&self, span: Range<usize>, block: &Block) -> Option<Piece> {
        let raw = &self.text[span.clone()];
        // A line's own indentation stays, it may be code; blank lines before the first words go.
        let blank = &raw[..raw.len() - raw.trim_start().len()];
        let begins_mid_line = self.starts.binary_search(&span.start).is_err();
        let skipped = match blank.rfind('\n') {
            Some(newline) => newline + 1,
            None if begins_mid_line => blank.len(),
            None => 0,
        };
        let is_table = block.kind == Kind::Table;
        let rules: usize = raw[skipped..]
            .split_inclusive('\n')
            .take_while(|line| is_table && (markup::is_noise(line) || line.trim().is_empty()))
            .map(str::len)
            .sum();
        let skipped = skipped + rules;
        let line = self.starts.partition_point(|start| *start <= span.start + skipped);
        let kept = raw[skipped..].trim_end();
        let text = if is_table {
            kept.lines().filter(|line| !markup::is_noise(line)).collect::<Vec<_>>().join("\n")
        } else {
            kept.to_owned()
        };
        let says_something = text.chars().any(char::is_alphanumeric);
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        says_something.then(|| Piece { line, text, headings: block.headings.clone() })
    }
}

/// The parts that a passage may begin with, rows of a table, items of a list, paragraphs, each as its sentences.
fn units(text: &str, block: &Block) -> Vec<Vec<Range<usize>>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut begin = block.span.start;
    for line in text[block.span.clone()].split_inclusive('\n') {
        let begins = block.kind == Kind::Table || markup::list_item(line).is_some();
        match parts.last_mut().filter(|_| !begins) {
            Some(last) => last.end = begin + line.len(),
            None => parts.push(begin..begin + line.len()),
        }
        begin += line.len();
    }
    let sentences = |part: Range<usize>| {
        if block.kind == Kind::Table {
            return vec![part];
        }
        let spans = sentences::spans(&text[part.clone()]).into_iter();
        spans.map(|span| part.start + span.start..part.start + span.end).collect()
    };
    parts.into_iter().map(sentences).collect()
}

/// Puts consecutive parts together while they fit; only a part that is too long by itself is cut between its sentences.
fn packed(text: &str, units: Vec<Vec<Range<usize>>>) -> Vec<Range<usize>> {
    let fit = |from: usize, to: usize| fits(text[from..to].trim());
    let mut packed: Vec<Range<usize>> = Vec::new();
    for unit in units {
        let (Some(from), Some(to)) = (unit.first().map(|first| first.start), unit.last().map(|last| last.end)) else {
            continue;
        };
        if let Some(open) = packed.last_mut().filter(|open| fit(open.start, to)) {
            open.end = to;
            continue;
        }
        packed.push(from..from);
        for sentence in unit {
            match packed.last_mut().filter(|open| open.start == open.end || fit(open.start, sentence.end)) {
                Some(open) => open.end = sentence.end,
                None => packed.push(sentence),
            }
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brief(text: &str) -> Vec<(u32, String)> {
        cut_text(text).into_iter().map(|piece| (piece.line, piece.text)).collect()
    }

    #[test]
    fn passages_begin_on_their_exact_lines() {
        let long = "So it goes on. ".repeat(38);
        let text = format!("# Guide\n\nFirst paragraph\ngoes on.\n\n\n{long}\n\n## Ports\nmaster 8000\n\nLast.\n");
        assert_eq!(
            brief(&text),
            [
                (1, "# Guide\n\nFirst paragraph\ngoes on.".to_owned()),
                (7, long.trim_end().into()),
                (9, "## Ports\nmaster 8000\n\nLast.".into()),
            ]
        );
        assert_eq!(brief(&text.replace('\n', "\r\n")), brief(&text));
        assert_eq!(cut_text(&text)[2].headings, "Guide\nPorts");
    }

    #[test]
    fn headings_nest_and_end_with_their_section() {
        let text = "Title\n=====\n\nA.\n\n## One\n\nB.\n\n### Deep\n\nC.\n\n## Two\n\nD.";
        let headings: Vec<_> = cut_text(text).into_iter().map(|piece| piece.headings).collect();
        assert_eq!(headings, ["Title", "Title\nOne", "Title\nOne\nDeep", "Title\nTwo"]);
    }

    #[test]
    fn a_heading_path_is_bounded_from_outside_in() {
        let path = |headings: &str| Piece { line: 1, text: "x".into(), headings: headings.into() }.heading_path();
        assert_eq!(path("Chapter 2\n2.1 apt").as_deref(), Some("Chapter 2 > 2.1 apt"));
        assert_eq!(path(""), None);
        let outer = "o".repeat(95);
        assert_eq!(path(&format!("{outer}\nmiddle\ninner")).as_deref(), Some("middle > inner"));
        assert_eq!(path(&"界".repeat(300)).map(|path| path.chars().count()), Some(HEADING_CHARS));
    }

    #[test]
    fn code_blocks_stay_whole_and_hide_their_headings() {
        let code: String = (0..60).map(|n| format!("# comment {n}\n\nrun {n}\n")).collect();
        let text = format!("Before.\n\n```sh\n{code}```\n\nAfter.");
        let pieces = cut_text(&text);
        assert_eq!(pieces.iter().map(|piece| piece.line).collect::<Vec<_>>(), [1, 3, 186]);
        assert_eq!(pieces[1].text, format!("```sh\n{code}```"));
        assert_eq!(pieces[2].headings, "");
    }

    #[test]
    fn rules_badges_comments_and_front_matter_are_left_out() {
        let text = "---\ntitle: x\ntags: y\n---\n[![CI](a)](b)\n<!-- note -->\n\n| a | b |\n|---|---|\n| c | d |\n\n---\n\n- - -\n";
        assert_eq!(brief(text), [(8, "| a | b |\n| c | d |".to_owned())]);
        assert_eq!(brief("---\nNo front matter.\n\nText."), [(2, "No front matter.\n\nText.".to_owned())]);
        assert_eq!(brief("# One\n\n# Two\n").len(), 2, "titles alone are still found");
    }

    #[test]
    fn an_announcement_goes_with_what_it_announces() {
        let long = "make all\n".repeat(70);
        assert_eq!(
            brief(&format!("Run this:\n\n```\n{long}```\n\nDone.")),
            [(1, format!("Run this:\n\n```\n{long}```")), (76, "Done.".into())]
        );
    }

    #[test]
    fn long_blocks_are_cut_between_sentences_items_and_rows() {
        let sentence = "The lease of a worker is\nrenewed by its heartbeat every second. ";
        let pieces = cut_text(&sentence.repeat(60));
        assert!(pieces.len() > 4);
        for piece in &pieces {
            assert!(piece.text.chars().count() <= PASSAGE_CHARS);
            assert!(piece.text.starts_with("The lease") && piece.text.ends_with("second."), "{}", piece.text);
        }
        let long_item = format!("- {}\n", "A long item. ".repeat(60));
        let mixed = format!("- a short item of a longer list\n{long_item}{long_item}");
        assert_eq!(cut_text(&mixed).iter().map(|piece| piece.line).collect::<Vec<_>>(), [1, 2, 3], "no item is torn");
        let items: String = (1..=40).map(|n| format!("- item number {n} of the list\n")).collect();
        for piece in cut_text(&items) {
            assert!(piece.text.starts_with(&format!("- item number {} of", piece.line)));
        }
        let rows: String = (1..=40).map(|n| format!("| row {n} | value |\n")).collect();
        for piece in cut_text(&rows) {
            assert!(piece.text.starts_with(&format!("| row {} |", piece.line)));
        }
    }

    proptest! {
        /// Whatever the document, each passage stands in it, beginning on its line.
        #[test]
        fn every_passage_is_found_at_its_line(
            text in "(([a-z]{1,9}[.:]? |任務。|# |## |- |\\| |```|---|===|    |>|\n|\n\n|\r\n){1,3}){0,60}"
        ) {
            let plain = text.replace("\r\n", "\n");
            let lines: Vec<&str> = plain.split('\n').collect();
            let mut last = 0;
            for piece in cut_text(&text) {
                prop_assert!(piece.line >= last);
                last = piece.line;
                let first = piece.text.lines().next().unwrap();
                prop_assert!(lines[piece.line as usize - 1].contains(first), "{:?} is not on line {}", first, piece.line);
                let mut rest = lines[piece.line as usize - 1..].iter();
                for line in piece.text.lines() {
                    prop_assert!(rest.any(|source| source.contains(line)), "{:?} is not in order", line);
                }
            }
        }
    }
}
