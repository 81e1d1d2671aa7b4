//! Manual pages as documents: the requests of `man` and `mdoc` that shape text, without fonts, sizes and conditions. It
//! is no formatter: what it does not know is left out, and the words are kept.

use super::super::document::{Document, Writer, push_escaped, running};

/// Requests whose arguments are words of the text.
const WORDS: [&str; 57] = [
    "Ad", "An", "Ap", "Ar", "B", "BI", "BR", "Bq", "Bx", "Cm", "D1", "Dl", "Dq", "Dv", "Em", "Er", "Ev", "Fa", "Fl",
    "Fn", "Ft", "Fx", "I", "IB", "IR", "Ic", "Li", "Lk", "ME", "MR", "MT", "Ms", "Mt", "Nd", "Nm", "Ns", "OP", "Op",
    "Os", "Pa", "Pf", "Pq", "Ql", "Qq", "RB", "RI", "SB", "SM", "SY", "Sq", "Sx", "Sy", "Tn", "UE", "UR", "Va", "Xr",
];
/// Requests that end a paragraph.
const BREAKS: [&str; 18] =
    ["Bl", "Ed", "El", "HP", "LP", "P", "PP", "Pp", "RE", "RS", "Sp", "TQ", "bp", "ce", "in", "sp", "ti", "Re"];
/// Requests between which text keeps its form, begin and end.
const FORMED: [(&str, &str); 4] = [("nf", "fi"), ("EX", "EE"), ("Bd", "Ed"), ("Vb", "Ve")];
/// Special characters that are written by name.
const NAMED: [(&str, &str); 34] = [
    ("!=", "≠"),
    ("'a", "´"),
    ("(bu", "•"),
    ("+-", "±"),
    ("->", "→"),
    ("<-", "←"),
    ("<=", "≤"),
    (">=", "≥"),
    ("Fo", "«"),
    ("Fc", "»"),
    ("aa", "´"),
    ("aq", "'"),
    ("at", "@"),
    ("ba", "|"),
    ("bu", "•"),
    ("bv", "|"),
    ("co", "©"),
    ("cq", "’"),
    ("de", "°"),
    ("dg", "†"),
    ("dq", "\""),
    ("em", "—"),
    ("en", "–"),
    ("ga", "`"),
    ("ha", "^"),
    ("hy", "-"),
    ("lB", "["),
    ("lq", "“"),
    ("mu", "×"),
    ("oq", "‘"),
    ("rB", "]"),
    ("rg", "®"),
    ("rq", "”"),
    ("ti", "~"),
];
/// A page has one of these near its beginning.
const SIGNS: [&str; 5] = [".TH", ".Dd", ".Dt", ".SH", ".so"];

/// Whether a text is a manual page's source.
pub(super) fn is_manual_page(text: &str) -> bool {
    let is_sign = |line: &str| SIGNS.iter().any(|sign| line.starts_with(sign)) || line.starts_with(". TH");
    text.lines().take(200).any(is_sign)
}

/// A manual page.
pub(super) fn read(text: &str) -> Document {
    let mut page = Page::default();
    for (place, line) in (1..).zip(text.lines()) {
        page.line(place, line);
    }
    page.finish()
}

/// What the lines at hand are.
#[derive(Default, PartialEq)]
enum Mode {
    #[default]
    Text,
    /// Skipped until the line that ends it: a definition, or a block for the printer.
    Skipped(String),
    /// Kept in its form until the request that ends it.
    Formed(&'static str),
    /// A table; its formats come first.
    Table { is_body: bool, tab: char },
}

#[derive(Default)]
struct Page {
    out: Writer,
    mode: Mode,
    paragraph: Vec<(u32, String)>,
    formed: Vec<(u32, String)>,
    cell: Option<String>,
    prefix: &'static str,
    /// The next line of text is a term, and what follows is its meaning.
    awaits_term: bool,
    has_term: bool,
    name: String,
}

impl Page {
    fn line(&mut self, place: u32, line: &str) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Mode::Skipped(end) = &self.mode {
            if line.trim_end() == end || end == "\\}" && line.contains("\\}") {
                self.mode = Mode::Text;
            }
            return;
        }
        if let Mode::Table { .. } = self.mode {
            return self.table_line(place, line);
        }
        let Some(request) = line.strip_prefix(['.', '\'']) else { return self.text(place, line) };
        let request = request.trim_start();
        if request.starts_with("\\\"") || request.starts_with('"') {
            return;
        }
        let (name, rest) = request.split_once([' ', '\t']).unwrap_or((request, ""));
        self.request(place, name.trim_end(), rest.trim());
    }

    fn request(&mut self, place: u32, name: &str, rest: &str) {
        if let Mode::Formed(end) = self.mode {
            if name == end {
                return self.end_formed();
            }
            if WORDS.contains(&name) {
                self.formed.push((place, words(name, rest)));
            } else if BREAKS.contains(&name) {
                self.formed.push((place, String::new()));
            }
            return;
        }
        if let Some((_, end)) = FORMED.iter().find(|(begin, _)| *begin == name) {
            self.end_paragraph();
            self.mode = Mode::Formed(end);
            return;
        }
        match name {
            "TH" | "Dt" => self.title(place, rest),
            "SH" | "Sh" => self.heading(place, 2, rest),
            "SS" | "Ss" => self.heading(place, 3, rest),
            "TP" => self.item(true),
            "IP" | "It" => self.tagged(place, name, rest),
            "Nm" if !self.name.is_empty() && rest.is_empty() => self.text(place, &self.name.clone()),
            "Nm" => {
                self.name = if self.name.is_empty() { arguments(rest).concat() } else { self.name.clone() };
                self.text(place, &words(name, rest));
            }
            "TS" => {
                self.end_paragraph();
                self.mode = Mode::Table { is_body: false, tab: '\t' };
            }
            "de" | "am" | "de1" => self.mode = Mode::Skipped("..".into()),
            "ig" => self.mode = Mode::Skipped(format!(".{}", if rest.is_empty() { "." } else { rest })),
            "if" | "ie" => self.condition(place, rest),
            "el" => self.branch(place, rest),
            _ if BREAKS.contains(&name) => self.end_paragraph(),
            _ if WORDS.contains(&name) => self.text(place, &words(name, rest)),
            _ => {}
        }
    }

    /// `n` is for terminals, which is what we are; everything else is for a printer, or asks what we do not know.
    fn condition(&mut self, place: u32, rest: &str) {
        let (condition, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        if matches!(condition, "n" | "!t") {
            self.branch(place, rest.trim());
        } else if rest.contains("\\{") && !rest.contains("\\}") {
            self.mode = Mode::Skipped("\\}".into());
        }
    }

    fn branch(&mut self, place: u32, rest: &str) {
        let rest = rest.trim_start_matches("\\{").trim_end_matches('\\').trim();
        if !rest.is_empty() {
            self.line(place, rest);
        }
    }

    fn text(&mut self, place: u32, line: &str) {
        if let Mode::Formed(_) = self.mode {
            return self.formed.push((place, plain(line)));
        }
        let line = line.strip_prefix("\\}").or(line.strip_prefix(".\\}")).unwrap_or(line);
        if line.trim().is_empty() {
            return self.end_paragraph();
        }
        let words = escaped(&plain(line));
        if words.trim().is_empty() {
            return;
        }
        if self.awaits_term {
            self.awaits_term = false;
            self.has_term = true;
            self.paragraph.push((place, words));
            return;
        }
        if self.has_term {
            self.has_term = false;
            if let Some((_, term)) = self.paragraph.last_mut() {
                term.push_str(": ");
                term.push_str(words.trim_start());
                return;
            }
        }
        self.paragraph.push((place, words));
    }

    fn title(&mut self, place: u32, rest: &str) {
        let parts = arguments(rest);
        if let [name, section, ..] = &parts[..] {
            self.out.heading(place, 1, &escaped(&format!("{}({})", plain(name).to_lowercase(), plain(section))));
        }
    }

    fn heading(&mut self, place: u32, level: usize, rest: &str) {
        self.end_paragraph();
        self.out.heading(place, level, &escaped(&plain(&arguments(rest).join(" "))));
    }

    fn item(&mut self, awaits_term: bool) {
        self.end_paragraph();
        self.prefix = "- ";
        self.awaits_term = awaits_term;
    }

    /// An item whose term stands in the request itself; a mere mark is none.
    fn tagged(&mut self, place: u32, name: &str, rest: &str) {
        self.item(false);
        let arguments = arguments(rest);
        let term = match (name, arguments.first()) {
            ("IP", Some(term)) => plain(term),
            ("It", Some(_)) => words(name, rest),
            _ => return,
        };
        let is_mark = !term.chars().any(|c| c.is_alphanumeric() || "-/?#@%&=".contains(c));
        if !is_mark || term.trim() == "-" {
            let term = escaped(term.trim());
            if term.chars().any(char::is_alphanumeric) || term.chars().count() > 1 {
                self.paragraph.push((place, term));
                self.has_term = true;
            }
        }
    }

    fn end_paragraph(&mut self) {
        self.has_term = false;
        let lines = std::mem::take(&mut self.paragraph);
        if lines.is_empty() {
            return;
        }
        self.awaits_term = false;
        let prefix = std::mem::take(&mut self.prefix);
        if prefix.is_empty() {
            self.out.gap();
        }
        for (at, (place, line)) in lines.iter().enumerate() {
            let prefix = if at == 0 { prefix } else { "" };
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            self.out.line(*place, &format!("{prefix}{}", running(&words)));
        }
        if prefix.is_empty() {
            self.out.gap();
        }
    }

    fn end_formed(&mut self) {
        self.mode = Mode::Text;
        let lines = std::mem::take(&mut self.formed);
        self.out.code(&lines);
    }

    fn table_line(&mut self, place: u32, line: &str) {
        let Mode::Table { is_body, tab } = &mut self.mode else { return };
        if line.starts_with(".TE") {
            self.mode = Mode::Text;
            self.cell = None;
            return self.out.gap();
        }
        if !*is_body {
            if let Some(at) = line.find("tab(").or(line.find("tab (")) {
                *tab = line[at..].chars().skip_while(|c| *c != '(').nth(1).unwrap_or('\t');
            }
            *is_body = line.trim_end().ends_with('.');
            return;
        }
        if line.starts_with('.') || line.starts_with('\'') || line.starts_with("\\\"") {
            return;
        }
        let line = match self.cell.take() {
            Some(open) if !line.starts_with("T}") => {
                self.cell = Some(format!("{open} {line}"));
                return;
            }
            Some(open) => format!("{open}{}", &line["T}".len()..]),
            None => line.to_owned(),
        };
        if let Some(open) = line.strip_suffix("T{") {
            self.cell = Some(open.to_owned());
            return;
        }
        let cells: Vec<_> = line.split(*tab).map(|cell| escaped(plain(cell).trim()).replace('|', "\\|")).collect();
        if cells.iter().any(|cell| cell.chars().any(char::is_alphanumeric)) {
            self.out.line(place, &format!("| {} |", cells.join(" | ")));
        }
    }

    fn finish(mut self) -> Document {
        self.end_formed();
        self.end_paragraph();
        self.out.document()
    }
}

/// A request's arguments: words, or words in quotes.
fn arguments(rest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = rest.trim_start();
    while !rest.is_empty() && !rest.starts_with("\\\"") {
        let mut argument = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut chars = quoted.char_indices().peekable();
            let mut end = quoted.len();
            while let Some((at, c)) = chars.next() {
                if c != '"' {
                    argument.push(c);
                } else if chars.next_if(|(_, next)| *next == '"').is_some() {
                    argument.push('"');
                } else {
                    end = at + 1;
                    break;
                }
            }
            rest = quoted[end..].trim_start();
        } else {
            let mut end = rest.len();
            let mut is_escaped = false;
            for (at, c) in rest.char_indices() {
                if (c == ' ' || c == '\t') && !is_escaped {
                    end = at;
                    break;
                }
                is_escaped = c == '\\' && !is_escaped;
                argument.push(c);
            }
            rest = rest[end..].trim_start();
        }
        found.push(argument);
    }
    found
}

/// The words of a request that stands in running text. Those that alternate fonts (`BR`) put no space between.
fn words(name: &str, rest: &str) -> String {
    let arguments = arguments(rest);
    match name {
        "BI" | "BR" | "IB" | "IR" | "RB" | "RI" => plain(&arguments.concat()),
        "B" | "I" | "SB" | "SM" | "UR" | "MT" | "SY" => plain(&arguments.join(" ")),
        "OP" => format!("[{}]", plain(&arguments.join(" "))),
        "UE" | "ME" | "Os" | "Ns" => String::new(),
        _ => mdoc(std::iter::once(name.to_owned()).chain(arguments).collect()),
    }
}

/// A line of `mdoc`, in which arguments may be requests again: `.Op Fl a Ar file` is `[-a file]`.
fn mdoc(parts: Vec<String>) -> String {
    let (mut out, mut closing, mut sticks) = (String::new(), Vec::new(), true);
    let mut is_flag = false;
    // A reference is a name and a section, written as people do: `ls(1)`.
    let mut reference = 0;
    for part in parts {
        let (open, close) = match part.as_str() {
            "Op" | "Bq" => ("[", "]"),
            "Pq" => ("(", ")"),
            "Dq" | "Qq" => ("“", "”"),
            "Sq" | "Ql" => ("'", "'"),
            _ => ("", ""),
        };
        match part.as_str() {
            "Ns" | "Ap" | "Pf" => sticks = true,
            "Fl" => is_flag = true,
            "|" => out.push_str(" |"),
            _ if !open.is_empty() => {
                if !sticks {
                    out.push(' ');
                }
                out.push_str(open);
                closing.push(close);
                sticks = true;
            }
            known if WORDS.contains(&known) || ["It", "Xo", "Xc"].contains(&known) => {
                is_flag = false;
                reference = if known == "Xr" { 2 } else { 0 };
            }
            text if reference == 1 && text.starts_with(|c: char| c.is_ascii_digit()) => {
                reference = 0;
                out.push_str(&format!("({})", plain(text)));
            }
            text => {
                reference = if reference == 2 { 1 } else { 0 };
                let text = plain(text);
                let is_mark = text.len() == 1 && ".,:;)]?!".contains(&text);
                if !sticks && !is_mark {
                    out.push(' ');
                }
                if is_flag && !is_mark {
                    out.push('-');
                }
                sticks = text == "(" || text == "[";
                out.push_str(&text);
            }
        }
    }
    closing.iter().rev().for_each(|close| out.push_str(close));
    out
}

/// A line's words without escapes.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else { break };
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '#' => return out,
            '-' => out.push('-'),
            'e' | '\\' => out.push('\\'),
            ' ' | '~' | '0' => out.push(' '),
            '\'' => out.push('´'),
            '`' => out.push('`'),
            't' => out.push('\t'),
            '(' | '[' | 'C' => rest = named(c, rest, &mut out),
            '*' => {
                let mut name = String::new();
                rest = argument(rest, &mut name);
                out.push_str(special(&name));
            }
            'f' | 'F' | 'g' | 'k' | 'M' | 'm' | 'n' | 'V' | 'Y' => rest = argument(rest, &mut String::new()),
            's' => rest = size(rest),
            'A' | 'b' | 'B' | 'D' | 'h' | 'H' | 'l' | 'L' | 'N' | 'o' | 'R' | 'S' | 'v' | 'w' | 'x' | 'X' | 'Z' => {
                rest = delimited(rest);
            }
            _ => {}
        }
    }
    out.push_str(rest);
    out
}

/// A character by its name: `(em`, `[u2014]`.
fn named<'a>(mark: char, rest: &'a str, out: &mut String) -> &'a str {
    let (name, rest) = match mark {
        '(' => rest.split_at(two(rest)),
        '[' => rest.split_once(']').unwrap_or((rest, "")),
        _ => {
            let after = delimited(rest);
            (rest[..rest.len() - after.len()].trim_matches('\''), after)
        }
    };
    let code = name.strip_prefix('u').and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
    match code {
        Some(c) => out.push(c),
        None => out.push_str(special(name)),
    }
    rest
}

fn special(name: &str) -> &'static str {
    match name {
        "rs" => "\\",
        "R" => "®",
        "Aq" => "'",
        "Tm" | "tm" => "™",
        _ => NAMED.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text),
    }
}

/// Takes a name of one character, of two behind `(`, or of any in `[…]`.
fn argument<'a>(rest: &'a str, name: &mut String) -> &'a str {
    let rest = rest.strip_prefix(['+', '-']).filter(|_| !rest.is_empty()).unwrap_or(rest);
    let (taken, rest) = if let Some(rest) = rest.strip_prefix('(') {
        rest.split_at(two(rest))
    } else if let Some(rest) = rest.strip_prefix('[') {
        rest.split_once(']').unwrap_or((rest, ""))
    } else {
        rest.split_at(rest.chars().next().map_or(0, char::len_utf8))
    };
    name.push_str(taken);
    rest
}

/// The bytes of the first two characters.
fn two(rest: &str) -> usize {
    rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at)
}

/// Takes a size: `0`, `+1`, `-2`, `'12'`, `[12]`, `(12`.
fn size(rest: &str) -> &str {
    match rest.chars().next() {
        Some('+' | '-') => rest[1..].trim_start_matches(|c: char| c.is_ascii_digit()),
        Some('(' | '[') => argument(rest, &mut String::new()),
        Some('\'') => delimited(rest),
        Some(c) => &rest[c.len_utf8()..],
        None => rest,
    }
}

/// Takes an argument between two equal marks.
fn delimited(rest: &str) -> &str {
    let Some(mark) = rest.chars().next() else { return rest };
    let inner = &rest[mark.len_utf8()..];
    inner.find(mark).map_or("", |end| &inner[end + mark.len_utf8()..])
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}
