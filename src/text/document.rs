//! A document as it is searched and quoted: plain Markdown, with the place of every line in the file that it was read
//! from. Readers of other formats write it line by line; text that looks like a mark by chance is escaped here.

use super::markup;

/// A document that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// Markdown.
    pub(crate) text: String,
    /// Where each line of it stands in the file, from 1; none when the text is the file.
    places: Option<Vec<u32>>,
}

impl Document {
    /// A file that is its own text.
    pub(crate) fn as_written(text: String) -> Self {
        Self { text, places: None }
    }

    /// Where a line of the text (from 1) stands in the file: its line, or its page.
    pub(crate) fn place(&self, line: u32) -> u32 {
        let Some(places) = &self.places else { return line };
        let at = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        places.get(at).or(places.last()).copied().unwrap_or(1)
    }
}

/// Writes a document.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    text: String,
    places: Vec<u32>,
}

impl Writer {
    /// One line, which begins at that place of the file.
    pub(crate) fn line(&mut self, place: u32, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.places.push(place);
    }

    /// Ends a paragraph, unless one has just ended.
    pub(crate) fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            let place = self.places.last().copied().unwrap_or(1);
            self.line(place, "");
        }
    }

    /// A title, as a paragraph of its own.
    pub(crate) fn heading(&mut self, place: u32, level: usize, title: &str) {
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        if !title.is_empty() {
            self.gap();
            self.line(place, &format!("{} {title}", "#".repeat(level.clamp(1, 6))));
            self.gap();
        }
    }

    /// Text that is to keep its form, such as code; a paragraph of its own. Blank lines around it are dropped.
    pub(crate) fn code(&mut self, lines: &[(u32, String)]) {
        let says = |(_, line): &(u32, String)| !line.trim().is_empty();
        let (Some(first), Some(last)) = (lines.iter().position(says), lines.iter().rposition(says)) else { return };
        // A fence that stands in the code needs a longer one around it.
        let longest = lines.iter().map(|(_, line)| line.bytes().take_while(|byte| *byte == b'`').count()).max();
        let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
        self.gap();
        self.line(lines[first].0, &fence);
        for (place, line) in &lines[first..=last] {
            self.line(*place, line.trim_end());
        }
        self.line(lines[last].0, &fence);
        self.gap();
    }

    /// The document.
    pub(crate) fn document(self) -> Document {
        Document { text: self.text, places: Some(self.places) }
    }
}

/// A character of running text, with a backslash where Markdown would take it for a mark.
pub(crate) fn push_escaped(out: &mut String, c: char) {
    if matches!(c, '*' | '`' | '\\') {
        out.push('\\');
    }
    out.push(c);
}

/// A line of running text that does not begin like a heading, an item or a rule.
pub(crate) fn running(line: &str) -> String {
    let begins_like_a_mark = markup::heading(line).is_some()
        || markup::list_item(line).is_some()
        || markup::fence(line).is_some()
        || markup::underline(line).is_some()
        || markup::is_table_row(line)
        || markup::is_noise(line);
    if !begins_like_a_mark {
        return line.to_owned();
    }
    // Behind the digits of `1.`, in front of anything else.
    let at = line.bytes().take_while(u8::is_ascii_digit).count();
    if line[at..].starts_with(|c: char| c.is_ascii_punctuation()) {
        format!("{}\\{}", &line[..at], &line[at..])
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_places() {
        let mut writer = Writer::default();
        writer.heading(3, 2, " A \n title ");
        writer.line(5, "text");
        writer.code(&[(7, String::new()), (8, "```".into()), (9, "run".into()), (10, " ".into())]);
        let document = writer.document();
        assert_eq!(document.text, "## A title\n\ntext\n\n````\n```\nrun\n````\n\n");
        assert_eq!([1, 3, 6, 7, 99].map(|line| document.place(line)), [3, 5, 8, 9, 9]);
        assert_eq!(Document::as_written("a".into()).place(7), 7);
    }

    #[test]
    fn text_that_looks_like_a_mark_stays_text() {
        for line in ["# no title", "- no item", "1. no item", "--- ---", "| no row |", "text"] {
            let kept = running(line);
            assert_eq!(markup::plain(&kept), line, "{kept}");
            assert!(markup::heading(&kept).is_none() && markup::list_item(&kept).is_none());
            assert!(!markup::is_noise(&kept) && !markup::is_table_row(&kept) && markup::fence(&kept).is_none());
        }
    }
}
