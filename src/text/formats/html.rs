//! HTML as a document: headings, paragraphs, lists, tables and code, without scripts, styles and navigation. It reads the
//! tokens that the WHATWG's rules make of any bytes and builds no tree, so deep nesting costs nothing.

use super::super::document::{Document, Writer, push_escaped, running};
use encoding_rs::Encoding;
use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Spanned, StartTag, State, Token, Tokenizer};

/// Where a declaration of the encoding may stand.
const DECLARATION_BYTES: usize = 2048;
/// Elements whose content is not read.
const SKIPPED: [&str; 15] = [
    "audio", "button", "canvas", "iframe", "math", "nav", "noscript", "object", "script", "select", "style", "svg",
    "template", "textarea", "video",
];
/// Elements of any name whose class says that they lead elsewhere.
const NAVIGATION: [&str; 10] = [
    "breadcrumb",
    "breadcrumbs",
    "headerlink",
    "navbar",
    "navfooter",
    "navheader",
    "navigation",
    "sidebar",
    "sphinxsidebar",
    "toc",
];
/// Elements without an end.
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// Elements that begin and end a paragraph.
const BLOCKS: [&str; 31] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "details",
    "div",
    "dl",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "ol",
    "p",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "ul",
];
/// Elements that are quoted as code within a line.
const CODE: [&str; 5] = ["code", "kbd", "samp", "tt", "var"];

/// The encoding that the document declares, in its first bytes.
pub(super) fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(DECLARATION_BYTES)];
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let after = |mark: &str| head.find(mark).map(|at| &head[at + mark.len()..]);
    let value = after("charset=").or_else(|| after("encoding="))?;
    let value = value.trim_start_matches(['"', '\'', ' ']);
    let label = value.split(|c: char| !c.is_ascii_alphanumeric() && !"-_:.".contains(c)).next()?;
    Encoding::for_label(label.as_bytes())
}

/// An HTML document.
pub(super) fn read(text: &str) -> Document {
    let mut tokens = Tokenizer::new_with_emitter(text, DefaultEmitter::<usize>::new_with_span());
    let mut page = Page { lines: Lines::of(text), ..Page::default() };
    while let Some(Ok(token)) = tokens.next() {
        match token {
            Token::StartTag(tag) => {
                let name = tag.name.to_ascii_lowercase();
                // In XHTML `<script/>` is a whole element, and `<title/>` too.
                if let Some(state) = html5gum::naive_next_state(&name).filter(|_| !tag.self_closing) {
                    tokens.set_state(state_of(state, &name));
                }
                page.start(&String::from_utf8_lossy(&name), &tag);
            }
            Token::EndTag(tag) => page.end(&String::from_utf8_lossy(&tag.name).to_ascii_lowercase()),
            Token::String(words) => page.words(&words),
            _ => {}
        }
    }
    page.finish()
}

/// `noscript` is read as elements, because no scripts run here: its end is then found by its name like any other's.
fn state_of(state: State, name: &[u8]) -> State {
    if name == b"noscript" { State::Data } else { state }
}

/// The beginnings of a text's lines.
#[derive(Default)]
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(ends).collect())
    }

    fn number(&self, at: usize) -> u32 {
        u32::try_from(self.0.partition_point(|start| *start <= at).max(1)).unwrap_or(u32::MAX)
    }
}

/// Words of a paragraph, a title or a cell, line by line as in the file.
#[derive(Default)]
struct Gathered {
    lines: Vec<(u32, String)>,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.lines.iter().all(|(_, line)| line.trim().is_empty())
    }

    /// Adds to the line at hand.
    fn push(&mut self, place: u32, words: &str) {
        match self.lines.last_mut() {
            Some((_, line)) => line.push_str(words),
            None => self.lines.push((place, words.to_owned())),
        }
    }

    fn line(&mut self, place: u32) {
        self.lines.push((place, String::new()));
    }

    /// The first line's place and all words on one line.
    fn take_joined(&mut self) -> Option<(u32, String)> {
        let lines = std::mem::take(&mut self.lines);
        let (place, _) =
            *lines.iter().find(|(_, line)| !line.trim().is_empty()).map(|(place, line)| (place, line)).as_ref()?;
        let words = lines.iter().flat_map(|(_, line)| line.split_whitespace()).collect::<Vec<_>>().join(" ");
        Some((*place, words))
    }
}

/// A row of a table that is open.
#[derive(Default)]
struct Row {
    cells: Vec<(u32, String)>,
    /// It holds paragraphs and is there for the layout: its content is read as if there were no table.
    is_layout: bool,
}

/// Reads tokens, writes blocks.
#[derive(Default)]
struct Page {
    lines: Lines,
    out: Writer,
    gathered: Gathered,
    /// The element that is skipped, and how many of its name are open in it.
    skipping: Option<(String, usize)>,
    /// The title of the whole, until a first heading is there.
    title: Option<(u32, String)>,
    in_title: bool,
    in_head: bool,
    heading: Option<usize>,
    preformatted: usize,
    code: usize,
    /// What the next paragraph begins with: `- ` of an item.
    prefix: &'static str,
    /// A term waits for its meaning on the same line.
    is_glued: bool,
    rows: Vec<Row>,
}

impl Page {
    fn start(&mut self, name: &str, tag: &StartTag<usize>) {
        let is_whole = tag.self_closing || VOID.contains(&name);
        if let Some((skipped, depth)) = &mut self.skipping {
            *depth += usize::from(!is_whole && *skipped == name);
            return;
        }
        if (SKIPPED.contains(&name) || leads_elsewhere(tag)) && name != "body" && name != "html" {
            if !is_whole {
                self.skipping = Some((name.to_owned(), 1));
            }
            return;
        }
        let place = self.lines.number(tag.span.start);
        match name {
            "head" => self.in_head = !is_whole,
            "body" => self.in_head = false,
            "title" => self.in_title = !is_whole,
            "br" => self.gathered.line(place),
            "pre" | "listing" | "xmp" if !is_whole => {
                self.break_block();
                self.preformatted += 1;
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if !is_whole => {
                self.in_head = false;
                self.break_block();
                self.heading = name[1..].parse().ok();
            }
            "dt" | "li" => {
                self.is_glued = false;
                self.break_block();
                self.prefix = "- ";
            }
            "dd" => self.meaning(place),
            "tr" => {
                self.break_block();
                self.rows.push(Row::default());
            }
            "td" | "th" => self.end_cell(),
            _ if BLOCKS.contains(&name) => self.block(name),
            _ if CODE.contains(&name) && !is_whole => self.mark_code(place, true),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        if let Some((skipped, depth)) = &mut self.skipping {
            if *skipped == name {
                *depth -= 1;
                if *depth == 0 {
                    self.skipping = None;
                }
            }
            return;
        }
        match name {
            "head" => self.in_head = false,
            "title" => self.in_title = false,
            "pre" | "listing" | "xmp" if self.preformatted > 0 => {
                self.preformatted -= 1;
                if self.preformatted == 0 && self.in_cell() {
                    self.break_block();
                } else if self.preformatted == 0 {
                    let lines = std::mem::take(&mut self.gathered.lines);
                    self.out.code(&lines);
                }
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.break_block(),
            "td" | "th" => self.end_cell(),
            "tr" => self.end_row(),
            "table" => {
                self.end_row();
                self.break_block();
                if !self.in_cell() {
                    self.out.gap();
                }
            }
            "dt" => {}
            "dd" | "li" => {
                self.is_glued = false;
                self.break_block();
            }
            _ if BLOCKS.contains(&name) => self.block(name),
            _ if CODE.contains(&name) => self.mark_code(0, false),
            _ => {}
        }
    }

    fn words(&mut self, words: &Spanned<html5gum::HtmlString, usize>) {
        if self.skipping.is_some() {
            return;
        }
        let text = String::from_utf8_lossy(&words.value);
        let place = self.lines.number(words.span.start);
        if self.in_title {
            self.title.get_or_insert((place, String::new())).1.push_str(&text);
        } else if self.preformatted > 0 {
            self.preformatted_words(place, &text);
        } else if !self.in_head || !text.trim().is_empty() {
            self.running_words(place, &text);
        }
    }

    fn preformatted_words(&mut self, place: u32, text: &str) {
        for (at, line) in (0..).zip(text.split('\n')) {
            if at > 0 {
                self.gathered.line(place + at);
            }
            self.gathered.push(place + at, line.trim_end_matches('\r'));
        }
    }

    fn running_words(&mut self, place: u32, text: &str) {
        for (at, line) in (0..).zip(text.split('\n')) {
            if at > 0 && !self.gathered.lines.is_empty() {
                self.gathered.line(place + at);
            }
            if self.gathered.lines.is_empty() && line.trim().is_empty() {
                continue;
            }
            if !line.trim().is_empty() {
                self.is_glued = false;
            }
            let mut escaped = String::with_capacity(line.len());
            for c in line.chars() {
                match c {
                    '\u{a0}' | '\t' => escaped.push(' '),
                    '\u{200b}' | '\u{ad}' | '\r' => {}
                    _ if self.code > 0 => escaped.push(c),
                    _ => push_escaped(&mut escaped, c),
                }
            }
            self.gathered.push(place + at, &escaped);
        }
    }

    fn mark_code(&mut self, place: u32, begins: bool) {
        let was = self.code;
        self.code = if begins { was + 1 } else { was.saturating_sub(1) };
        let is_outermost = was.max(self.code) == 1;
        if is_outermost && self.preformatted == 0 && self.heading.is_none() && !(begins && self.in_title) {
            self.gathered.push(place, "`");
        }
    }

    /// A definition goes on the line of its term.
    fn meaning(&mut self, place: u32) {
        if self.gathered.is_empty() {
            self.prefix = "- ";
        } else if !self.in_cell() {
            self.gathered.push(place, ": ");
            self.is_glued = true;
        }
    }

    fn block(&mut self, name: &str) {
        // A paragraph that begins in a cell makes the row a piece of layout, unless words of the row went before it.
        if let Some(row) = self.rows.last_mut() {
            let is_cell = ["td", "th", "tr", "tbody", "thead", "tfoot"].contains(&name);
            row.is_layout |= !is_cell && name != "div" && row.cells.is_empty() && self.gathered.is_empty();
        }
        if !self.is_glued {
            self.break_block();
        }
    }

    fn in_cell(&self) -> bool {
        self.rows.last().is_some_and(|row| !row.is_layout)
    }

    /// Writes what has been gathered as a paragraph, or lets a cell go on.
    fn break_block(&mut self) {
        if self.in_cell() && self.heading.is_none() {
            self.gathered.push(0, " ");
            return;
        }
        if self.code > 0 {
            // Never closed, or a block in it: the mark ends with the paragraph.
            self.code = 0;
            self.gathered.push(0, "`");
        }
        if let Some(level) = self.heading.take() {
            if let Some((place, words)) = self.gathered.take_joined() {
                self.title = None;
                self.out.heading(place, level, &words);
            }
            return;
        }
        self.paragraph();
    }

    fn paragraph(&mut self) {
        let lines = std::mem::take(&mut self.gathered.lines);
        let mut lines = lines.iter().filter(|(_, line)| !line.trim().is_empty() && line.trim() != "`").peekable();
        if lines.peek().is_none() {
            return;
        }
        let prefix = std::mem::take(&mut self.prefix);
        if prefix.is_empty() {
            self.out.gap();
        }
        for (at, (place, line)) in lines.enumerate() {
            let words = running(&line.split_whitespace().collect::<Vec<_>>().join(" "));
            let prefix = if at == 0 { prefix } else { "" };
            self.out.line(*place, &format!("{prefix}{words}"));
        }
        if prefix.is_empty() {
            self.out.gap();
        }
    }

    fn end_cell(&mut self) {
        let Some(row) = self.rows.last_mut() else { return self.break_block() };
        if row.is_layout {
            self.break_block();
        } else if let Some((place, words)) = self.gathered.take_joined() {
            row.cells.push((place, words));
        }
    }

    fn end_row(&mut self) {
        self.end_cell();
        let Some(row) = self.rows.pop() else { return };
        match &row.cells[..] {
            [] => {}
            [(place, words)] => {
                self.gathered.lines.push((*place, words.clone()));
                self.break_block();
            }
            [(place, _), ..] => {
                let cells: Vec<_> = row.cells.iter().map(|(_, words)| words.replace('|', "\\|")).collect();
                let line = format!("| {} |", cells.join(" | "));
                if self.in_cell() {
                    self.gathered.push(*place, &line);
                } else {
                    self.out.line(*place, &line);
                }
            }
        }
    }

    fn finish(mut self) -> Document {
        while !self.rows.is_empty() {
            self.end_row();
        }
        if self.preformatted > 0 {
            let lines = std::mem::take(&mut self.gathered.lines);
            self.out.code(&lines);
        }
        self.break_block();
        let Some((place, title)) = self.title.take() else { return self.out.document() };
        // No heading in the text: the title is one.
        let mut whole = Writer::default();
        whole.heading(place, 1, &title);
        let body = self.out.document();
        for (line, number) in body.text.lines().zip(1..) {
            whole.line(body.place(number), line);
        }
        whole.document()
    }
}

/// Whether an element is a part of the site and not of the document.
fn leads_elsewhere(tag: &StartTag<usize>) -> bool {
    let value = |name: &str| tag.attributes.get(name.as_bytes()).map(|value| String::from_utf8_lossy(&value.value));
    let classes = value("class").unwrap_or_default().to_ascii_lowercase();
    let is_hidden = tag.attributes.contains_key(&b"hidden"[..]);
    let role = value("role").unwrap_or_default();
    is_hidden || role == "navigation" || classes.split_whitespace().any(|class| NAVIGATION.contains(&class))
}
