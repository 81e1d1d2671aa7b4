//! Markdown (and its plainer relatives) as far as reading needs it: what kind of line a line is, and a line's words
//! without their markup. It knows single lines and runs of text; documents are cut elsewhere.

/// HTML elements that appear in Markdown documents; other `<…>` is text, such as `Vec<T>`.
const TAGS: &[&str] = &[
    "!--", "a", "b", "br", "center", "code", "details", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i",
    "img", "kbd", "li", "ol", "p", "picture", "pre", "small", "source", "span", "strong", "sub", "summary", "sup",
    "table", "tbody", "td", "th", "thead", "tr", "ul",
];
/// A link's or tag's text is not looked for farther than this, so that unmatched brackets cost little.
const MAX_SPAN_BYTES: usize = 1000;
/// How deep links may nest: a badge is an image in a link.
const MAX_NESTING: u8 = 3;

/// The character and length of a code fence that opens or closes at this line.
pub(crate) fn fence(line: &str) -> Option<(char, usize)> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.chars().take_while(|c| *c == mark).count();
    let is_code_span = mark == '`' && line[length..].contains('`');
    (length >= 3 && !is_code_span).then_some((mark, length))
}

/// Whether this line closes a fence opened by that mark.
pub(crate) fn closes(line: &str, open: (char, usize)) -> bool {
    let bare = line.trim().chars().all(|c| c == open.0);
    bare && fence(line).is_some_and(|(_, length)| length >= open.1)
}

/// The level and title of a `#` heading.
pub(crate) fn heading(line: &str) -> Option<(usize, &str)> {
    let line = line.trim_end();
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    let title = &line[level..];
    if !(1..=6).contains(&level) || !title.starts_with([' ', '\t']) {
        return None;
    }
    let title = title.trim();
    Some((level, title.trim_end_matches('#').trim_end())).filter(|(_, title)| title.chars().any(char::is_alphanumeric))
}

/// The level that a line gives to the single line of text above it, when it is that heading's underline.
pub(crate) fn underline(line: &str) -> Option<usize> {
    let line = line.trim_end();
    let mark = line.chars().next()?;
    let level = match mark {
        '=' => 1,
        '-' => 2,
        '~' => 3,
        '^' => 4,
        _ => return None,
    };
    (line.len() >= 3 && line.chars().all(|c| c == mark)).then_some(level)
}

/// The text of a list item without its marker.
pub(crate) fn list_item(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let after = if digits == 0 {
        line.strip_prefix(['-', '*', '+', '•'])?
    } else if digits <= 4 {
        line[digits..].strip_prefix(['.', ')'])?
    } else {
        return None;
    };
    let text = after.strip_prefix([' ', '\t'])?.trim_start();
    let checkbox = ["[ ] ", "[x] ", "[X] "].iter().find_map(|mark| text.strip_prefix(mark));
    Some(checkbox.unwrap_or(text))
}

/// Whether a line is a row of a table.
pub(crate) fn is_table_row(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('|') && line.len() > 1
}

/// Whether a line says nothing: rules of tables and pages, empty headings, badges, comments, link definitions.
pub(crate) fn is_noise(line: &str) -> bool {
    let line = line.trim();
    if line.is_empty() {
        return false;
    }
    let is_rule = line.chars().all(|c| "|-:=*_+~# ".contains(c));
    let is_definition = line.starts_with('[') && !line.starts_with("[^") && line.contains("]: ");
    is_rule || is_definition || line.starts_with("<!--") && line.ends_with("-->") || is_badges(line)
}

/// Only images, links of images and HTML tags.
fn is_badges(line: &str) -> bool {
    (line.starts_with('[') || line.starts_with('!') || line.starts_with('<'))
        && !plain(line).chars().any(char::is_alphanumeric)
}

/// The words of a text without inline markup, white space collapsed.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    strip(text, 0, &mut out);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn strip(text: &str, nesting: u8, out: &mut String) {
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => escape(rest, out),
            '`' => code_span(rest, out),
            '!' if rest.starts_with("![") => link(&rest[1..], MAX_NESTING, &mut String::new()).map(|taken| taken + 1),
            '[' => link(rest, nesting, out),
            '<' => tag(rest, out),
            '*' | '_' | '~' => emphasis(rest, before),
            _ => None,
        };
        let taken = taken.unwrap_or_else(|| {
            out.push(c);
            c.len_utf8()
        });
        before = rest[..taken].chars().next_back();
        rest = &rest[taken..];
    }
}

fn escape(rest: &str, out: &mut String) -> Option<usize> {
    let next = rest[1..].chars().next().filter(char::is_ascii_punctuation)?;
    out.push(next);
    Some(2)
}

/// What is between back-ticks is kept as it stands; a lone back-tick is dropped.
fn code_span(rest: &str, out: &mut String) -> Option<usize> {
    let ticks = rest.bytes().take_while(|byte| *byte == b'`').count();
    let (mark, inner) = rest.split_at(ticks);
    let Some(end) = head(inner).find(mark) else { return Some(ticks) };
    out.push_str(inner[..end].trim());
    Some(ticks + end + ticks)
}

/// A link leaves its words, an image nothing, and a bare `[12]` or `[^note]` nothing either: quoted, it would pass for
/// a citation of ours.
fn link(rest: &str, nesting: u8, out: &mut String) -> Option<usize> {
    let label_end = matching(rest, '[', ']')?;
    let label = &rest[1..label_end];
    let after = &rest[label_end + 1..];
    let target = match after.chars().next() {
        Some('(') => matching(after, '(', ')').map(|end| end + 1),
        Some('[') => matching(after, '[', ']').filter(|end| *end == 1 || !is_mark(&after[1..*end])).map(|end| end + 1),
        _ => None,
    };
    if is_mark(label) {
        return Some(label_end + 1 + target.filter(|_| after.starts_with('(')).unwrap_or(0));
    }
    let taken = label_end + 1 + target?;
    if nesting < MAX_NESTING {
        strip(label, nesting + 1, out);
    }
    Some(taken)
}

/// Whether a bracket's content is a footnote's or citation's mark.
fn is_mark(label: &str) -> bool {
    label.starts_with('^')
        || !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit() || b", ".contains(&byte))
}

/// Where the bracket that opens a text is closed.
fn matching(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in head(text).char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

fn tag(rest: &str, out: &mut String) -> Option<usize> {
    let end = head(rest).find('>')?;
    let inner = &rest[1..end];
    if inner.starts_with("http://") || inner.starts_with("https://") {
        out.push_str(inner);
        return Some(end + 1);
    }
    let name = inner.trim_start_matches('/');
    let length = name.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"!-".contains(byte)).count();
    let name = name[..length].to_ascii_lowercase();
    let known = TAGS.binary_search(&name.as_str()).is_ok() || name.starts_with("!--");
    known.then(|| {
        out.push(' ');
        end + 1
    })
}

/// Emphasis marks go; products (`2 * 3`), names (`max_open_tasks`) and approximations (`~5`) stay.
fn emphasis(rest: &str, before: Option<char>) -> Option<usize> {
    let mark = rest.chars().next()?;
    let length = rest.chars().take_while(|c| *c == mark).count();
    let after = rest[length..].chars().next();
    let space = |side: Option<char>| side.is_none_or(char::is_whitespace);
    let inside_word = |side: Option<char>| side.is_some_and(char::is_alphanumeric);
    let ascii_word = |side: Option<char>| side.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_text = match mark {
        '~' => length != 2,
        '_' => inside_word(before) && inside_word(after),
        _ => length == 1 && ascii_word(before) && ascii_word(after),
    };
    let stands_alone = space(before) && space(after);
    (!is_text && !stands_alone).then_some(length)
}

/// The beginning of a text, as far as spans are looked for.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_SPAN_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_sorted_for_the_binary_search() {
        assert!(TAGS.is_sorted());
    }

    #[test]
    fn inline_markup_is_stripped_and_names_stay_whole() {
        for (marked, words) in [
            ("**Bold**, *soft* and __strong__ `max_open_tasks`", "Bold, soft and strong max_open_tasks"),
            ("see [the guide](docs/a_(b).md \"x\") or [notes][n]", "see the guide or notes"),
            ("[![CI](a.svg)](b) ![logo](c.png) text", "text"),
            ("claimed[12] and noted[^3], see [1, 2] or [1][2]", "claimed and noted, see or"),
            ("2 * 3 = 6, 2*3, snake_case, ~5 ms, ~~gone~~", "2 * 3 = 6, 2*3, snake_case, ~5 ms, gone"),
            ("a `Vec<T>` and Vec<T>, <b>bold</b><br>line <https://x.y>", "a Vec<T> and Vec<T>, bold line https://x.y"),
            ("這是**重點**與*斜體*", "這是重點與斜體"),
            ("array [sic] and \\*stars\\* `lone", "array [sic] and *stars* lone"),
        ] {
            assert_eq!(plain(marked), words, "{marked}");
        }
    }

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(heading("## Title ##"), Some((2, "Title")));
        assert_eq!((heading("#tag"), heading("# "), heading("####### x")), (None, None, None));
        assert_eq!((underline("==="), underline("-----"), underline("--x")), (Some(1), Some(2), None));
        assert_eq!((fence("```rust"), fence("``` a `b`"), fence("~~~~")), (Some(('`', 3)), None, Some(('~', 4))));
        assert!(closes("````", ('`', 3)) && !closes("```rust", ('`', 3)) && !closes("~~~", ('`', 3)));
        assert_eq!(
            (list_item("- [x] done"), list_item("12. twelve"), list_item("2026. was")),
            (Some("done"), Some("twelve"), Some("was"))
        );
        assert_eq!((list_item("-dash"), list_item("20261. was")), (None, None));
        for noise in ["|---|:--:|", "---", "[![a](b)](c) ![d](e)", "<!-- x -->", "[ref]: http://x", "<p align=center>"]
        {
            assert!(is_noise(noise), "{noise}");
        }
        for text in ["| a | b |", "[a](b) words", "[^1]: a footnote", "text - with dashes", "<Vec>"] {
            assert!(!is_noise(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[\\[\\]()!<>*_~`\\\\ a界\\^1]{0,60}") {
            let stripped = plain(&text);
            prop_assert!(stripped.chars().count() <= text.chars().count());
            for line in text.lines() {
                let _ = (heading(line), underline(line), fence(line), list_item(line), is_noise(line));
            }
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let text = "[".repeat(50_000) + &"](x)".repeat(50_000);
        assert!(!plain(&text).is_empty());
    }
}
