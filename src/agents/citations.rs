//! Evidence on its way through the steps: which passages the earlier outputs hold, in which order a step sees them, and
//! which of them a model's `[n]` marks mean.

use super::output::citation;
use super::reading::Reading;
use crate::messages::Passage;
use std::borrow::Cow;
use std::ops::Range;

/// Most passages that a step is shown, whatever foreign agents put into their outputs.
const MAX_SHOWN: usize = 20;
/// A longer bracket is no list of numbers.
const MAX_MARK_BYTES: usize = 40;

/// The passages of the earlier outputs. Those that the last citing step cited come first and in its order, so that its
/// `[n]` mean the same in the next prompt; the others follow as they were found.
pub(super) fn gather(readings: &[Reading]) -> Vec<Passage> {
    let mut found: Vec<Passage> = Vec::new();
    for passage in readings.iter().flat_map(|reading| &reading.passages) {
        if !found.contains(passage) {
            found.push(passage.clone());
        }
    }
    let cited = readings.iter().rev().map(|reading| &reading.citations).find(|cited| !cited.is_empty());
    let mut shown = Vec::new();
    for cited in cited.into_iter().flatten() {
        // A citation is the beginning of its passage; the whole is among those found, unless a foreign agent cites.
        let whole = found.iter().position(|passage| is_from(cited, passage));
        shown.push(whole.map_or_else(|| cited.clone(), |at| found.remove(at)));
    }
    shown.append(&mut found);
    shown.truncate(MAX_SHOWN);
    shown
}

/// Whether a citation is of this passage. Its heading does not count: a foreign agent may have left it out.
fn is_from(cited: &Passage, passage: &Passage) -> bool {
    let brief = citation(passage);
    (&brief.file, brief.line, &brief.text) == (&cited.file, cited.line, &cited.text)
}

/// For a provider that does not cite by itself: reads the `[n]` marks in its text as numbers of the passages that it was
/// shown, renumbers them from 1 in the order of appearance, and gives the passages in that order. Marks in code and
/// numbers that no passage has stay as they are.
pub(super) fn resolve<'a>(text: &'a str, passages: &[Passage]) -> (Cow<'a, str>, Vec<Passage>) {
    if !text.contains('[') {
        return (text.into(), Vec::new());
    }
    let mut cited: Vec<usize> = Vec::new();
    let mut resolved = String::with_capacity(text.len());
    let mut done = 0;
    for (span, numbers) in marks(text) {
        if numbers.iter().any(|number| *number == 0 || *number > passages.len()) {
            continue;
        }
        resolved.push_str(&text[done..span.start]);
        done = span.end;
        for number in numbers {
            let known = cited.iter().position(|cited| *cited == number).unwrap_or_else(|| {
                cited.push(number);
                cited.len() - 1
            });
            resolved.push_str(&format!("[{}]", known + 1));
        }
    }
    resolved.push_str(&text[done..]);
    (resolved.into(), cited.into_iter().map(|number| passages[number - 1].clone()).collect())
}

/// The `[1]` and `[1, 2]` in a text, outside of code.
fn marks(text: &str) -> Vec<(Range<usize>, Vec<usize>)> {
    let mut marks = Vec::new();
    let mut in_code = false;
    for (at, c) in text.char_indices() {
        if c == '`' {
            in_code = !in_code;
        }
        if c != '[' || in_code {
            continue;
        }
        let Some(length) = text[at + 1..].bytes().take(MAX_MARK_BYTES).position(|byte| byte == b']') else { continue };
        let end = at + 1 + length;
        let numbers: Option<Vec<usize>> =
            text[at + 1..end].split(',').map(|number| number.trim().parse().ok()).collect();
        let is_link = text[end + 1..].starts_with('(');
        if let Some(numbers) = numbers.filter(|_| !is_link) {
            marks.push((at..end + 1, numbers));
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::super::testing::{earlier, passage};
    use super::*;
    use crate::messages::Earlier;
    use serde_json::json;

    fn gather(earlier: &[Earlier]) -> Vec<Passage> {
        super::gather(&Reading::all(earlier))
    }

    #[test]
    fn cited_passages_come_first_and_whole() {
        let long = "word ".repeat(60);
        let passages = [passage("a.md", 1, "one"), passage("b.md", 2, &long), passage("c.md", 3, "three")];
        let cited = [citation(&passages[1]), passage("elsewhere.md", 9, "nine")];
        let outputs = [
            earlier("retrieve", json!({"passages": passages})),
            earlier("evaluate", json!({"citations": cited, "passages": [{"file": 7}, passages[0]]})),
        ];
        let [one, two, three] = passages;
        assert_eq!(gather(&outputs), [two, passage("elsewhere.md", 9, "nine"), one, three]);
    }

    #[test]
    fn foreign_outputs_of_any_form_are_survived() {
        for output in [json!(null), json!([1]), json!({"passages": "none"}), json!({"passages": [null, {}]})] {
            assert_eq!(gather(&[earlier("x", output)]), []);
        }
        let many: Vec<_> = (0..99).map(|line| passage("a.md", line, "x")).collect();
        assert_eq!(gather(&[earlier("x", json!({"passages": many}))]).len(), MAX_SHOWN);
    }

    #[test]
    fn marks_are_renumbered_in_the_order_of_citing() {
        let passages = [passage("a.md", 1, "a"), passage("b.md", 2, "b"), passage("c.md", 3, "c")];
        let (text, cited) = resolve("So[3]. And [1, 3] or [9], `a[1]`, [1](link), [x], 界[1].", &passages);
        assert_eq!(text, "So[1]. And [2][1] or [9], `a[1]`, [1](link), [x], 界[2].");
        assert_eq!(cited, [passages[2].clone(), passages[0].clone()]);
        assert_eq!(resolve("[0] [界 [", &passages), ("[0] [界 [".into(), vec![]));
    }
}
