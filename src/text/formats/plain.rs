//! Plain text that was laid out by hand or by a program: numbered titles (`2.1 Packages`) become headings, and AsciiDoc's
//! `== Title` too. Everything else is Markdown's business, whose plainer relatives most texts are.

use super::super::document::Document;
use super::super::markup;

/// Longer lines are sentences that begin with a number.
const MAX_TITLE_CHARS: usize = 80;
/// Dots in a row that lead to a page number in a table of contents.
const LEADERS: [&str; 3] = ["....", ". . .", "……"];

/// A text file.
pub(super) fn read(text: &str) -> Document {
    let text = text.replace("\r\n", "\n").replace('\u{c}', "\n");
    if !text.lines().any(|line| numbered_title(line).is_some()) {
        return Document::as_written(text);
    }
    let mut out = String::with_capacity(text.len());
    let (mut is_alone, mut in_contents) = (true, false);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let ends = lines.peek().is_none_or(|next| next.trim().is_empty());
        in_contents = is_contents(line) || in_contents && !line.trim().is_empty();
        match numbered_title(line).filter(|_| is_alone && ends && !in_contents) {
            Some((level, title)) => out.push_str(&format!("{} {title}", "#".repeat(level))),
            None => out.push_str(line),
        }
        out.push('\n');
        is_alone = line.trim().is_empty();
    }
    Document::as_written(out)
}

/// An AsciiDoc file: its titles begin with `=`.
pub(super) fn asciidoc(text: &str) -> Document {
    let line = |line: &str| {
        let level = line.bytes().take_while(|byte| *byte == b'=').count();
        let is_title = (1..=6).contains(&level) && line[level..].starts_with(' ');
        if is_title { format!("{}{}\n", "#".repeat(level), &line[level..]) } else { format!("{line}\n") }
    };
    Document::as_written(text.lines().map(line).collect())
}

/// The level and words of a title such as `2.1.3. Packages` or `Chapter 2. Packages`; the paragraph is for others to see.
pub(super) fn numbered_title(line: &str) -> Option<(usize, &str)> {
    let title = line.trim();
    if title.is_empty() || title.len() > 4 * MAX_TITLE_CHARS || title.chars().count() > MAX_TITLE_CHARS {
        return None;
    }
    if line.starts_with([' ', '\t'])
        || is_contents(title)
        || title.ends_with(['.', '。', '：', ':', '；', ';', ',', '，'])
    {
        return None;
    }
    if let Some(rest) = title.strip_prefix('第') {
        let (number, rest) = rest.split_at(rest.find(['章', '部', '篇'])?);
        let is_title = number.chars().count() <= 6 && rest.chars().nth(1).is_none_or(|c| " 　:：.".contains(c));
        return is_title.then_some((1, title));
    }
    let (first, words) = title.split_once(char::is_whitespace)?;
    if ["Chapter", "Appendix"].contains(&first) {
        let number = words.split(|c: char| c.is_whitespace() || ".:".contains(c)).next();
        return number.filter(|number| is_number(number) || number.len() == 1).map(|_| (1, title));
    }
    let parts: Vec<&str> = first.trim_end_matches('.').split('.').collect();
    let is_section = (2..=5).contains(&parts.len()) && parts.iter().all(|part| is_number(part) && part.len() <= 3);
    let begins_a_title = words.trim().starts_with(|c: char| c.is_alphabetic() && !c.is_lowercase());
    (is_section && begins_a_title).then_some((parts.len(), title))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a line is one of a table of contents.
pub(super) fn is_contents(line: &str) -> bool {
    LEADERS.iter().any(|dots| line.contains(dots)) && line.trim_end().ends_with(|c: char| c.is_ascii_digit())
        || markup::is_noise(line) && line.contains("....")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_titles_become_headings() {
        let text = "Chapter 2. Packages\n\n2.1. The basics\n\nText.\n\n2.1.1 命名管道（先進先出）\n\n2.1 is the version.\n\n\
                    1.2 Named pipes . . . . . 13\n\n2.1.2.\u{a0}Wide\n\n    2.3 Code\n\n第三章 系統初始化\n\n2.5 Two lines\nof text\n";
        let document = read(text);
        assert_eq!(
            document.text,
            text.replace("Chapter 2.", "# Chapter 2.")
                .replace("2.1. The", "## 2.1. The")
                .replace("2.1.1 命", "### 2.1.1 命")
                .replace("2.1.2.", "### 2.1.2.")
                .replace("第三章", "# 第三章")
        );
        assert_eq!(document.place(7), 7);
    }

    #[test]
    fn asciidoc_titles_become_headings() {
        assert_eq!(asciidoc("= Title\n\n== Part\n====\ncode\n").text, "# Title\n\n## Part\n====\ncode\n");
    }
}
