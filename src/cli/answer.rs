//! An answer as people read it: the words, then what they rest on, numbered as in the words. It prints nothing itself.

use super::clean::{clean, clean_line};
use super::table::clipped;
use super::wire::{Citation, Output};

/// How much of a source is shown.
const EXCERPT: usize = 72;

/// The words with their sources.
pub fn answer(output: &Output) -> String {
    let text = clean(output.text.trim());
    let text = if text.is_empty() { "(the answer has no words)".to_owned() } else { text };
    let sources: Vec<String> = output.citations.iter().enumerate().map(|(at, cited)| source(at + 1, cited)).collect();
    if sources.is_empty() {
        return format!("{text}\n\nNo sources: the answer cites nothing.");
    }
    format!("{text}\n\nSources\n{}", sources.join("\n"))
}

fn source(number: usize, cited: &Citation) -> String {
    let excerpt = clipped(&clean_line(&cited.text), EXCERPT);
    let heading = cited.heading.as_deref().map(|heading| format!(" ({})", clipped(&clean_line(heading), EXCERPT)));
    let place = format!("{}:{}{}", clean_line(&cited.file), cited.line, heading.unwrap_or_default());
    format!("  [{number}] {place}  {excerpt}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_numbered_as_in_the_words() {
        let output: Output = serde_json::from_str(
            r#"{"text": "It goes on [1].\nAlways [2].", "citations": [
                {"file": "docs/a.md", "line": 7, "heading": "A > B", "text": "goes\n on"}, {"file": "b\u001b.md", "line": 1}]}"#,
        )
        .unwrap();
        insta::assert_snapshot!(answer(&output), @r"
        It goes on [1].
        Always [2].

        Sources
          [1] docs/a.md:7 (A > B)  goes on
          [2] b�.md:1
        ");
    }

    #[test]
    fn an_answer_without_sources_says_so() {
        assert!(answer(&Output::default()).ends_with("No sources: the answer cites nothing."));
    }
}
