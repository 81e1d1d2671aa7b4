//! Chosen quotes as an answer: grouped by passage, cited by number, with the few words around them in the question's
//! language.

use super::evidence::Evidence;
use super::language::Language;
use super::units::Unit;
use crate::messages::Passage;

/// Longer titles are not repeated in an answer.
const MAX_TITLE_CHARS: usize = 60;

/// The answer's text, and the passages in the order in which it numbers them.
pub(super) fn compose(
    language: Language,
    evidence: &Evidence,
    quotes: &[usize],
    passages: &[Passage],
) -> (String, Vec<Passage>) {
    let mut cited: Vec<usize> = Vec::new();
    for quote in quotes {
        let passage = evidence.candidates[*quote].passage;
        if !cited.contains(&passage) {
            cited.push(passage);
        }
    }
    let mut text = String::new();
    let is_foreign = |quote: &usize| {
        let unit = &evidence.candidates[*quote].unit;
        !unit.text.is_empty() && Language::of_text(&unit.text).is_some_and(|own| own != language)
    };
    if quotes.iter().all(is_foreign) {
        text.push_str(language.quoted_as_they_are());
        text.push('\n');
    }
    for (number, passage) in (1..).zip(&cited) {
        let mut of_passage: Vec<usize> =
            quotes.iter().copied().filter(|quote| evidence.candidates[*quote].passage == *passage).collect();
        of_passage.sort_unstable();
        if number > 1 {
            text.push_str(&language.also(title(&passages[*passage])));
        }
        let units = of_passage.iter().map(|quote| &evidence.candidates[*quote].unit);
        text.push_str(&group(language, units, number));
        text.push('\n');
    }
    text.push_str(language.note());
    (text, cited.into_iter().map(|passage| passages[passage].clone()).collect())
}

/// The innermost title above a passage.
fn title(passage: &Passage) -> Option<&str> {
    let heading = passage.heading.as_deref()?;
    let innermost = heading.rsplit(" > ").next().unwrap_or(heading).trim();
    (!innermost.is_empty() && innermost.chars().count() <= MAX_TITLE_CHARS).then_some(innermost)
}

/// The quotes of one passage. Code stands on lines of its own, indented, below the sentence that announces it.
fn group<'a>(language: Language, units: impl Iterator<Item = &'a Unit>, number: usize) -> String {
    let mut text = String::new();
    for unit in units {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push(' ');
        }
        let words = if unit.text.is_empty() { language.code() } else { &unit.text };
        text.push_str(&format!("{words} [{number}]"));
        for line in &unit.code {
            text.push_str("\n    ");
            text.push_str(line);
        }
        if !unit.code.is_empty() {
            text.push('\n');
        }
    }
    text.trim_end().to_owned()
}
