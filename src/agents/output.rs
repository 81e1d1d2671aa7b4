//! The form of a step's output, the same for every agent: the predecessor's keys, with references where it repeated its
//! inputs. The bounds that keep a whole answer small are here.

use super::AgentError;
use crate::messages::{Passage, Usage, Work};
use crate::task::{ErrorCode, Failure, Json};
use serde::Serialize;

/// Most passages in an output.
pub(super) const MAX_PASSAGES: usize = 5;
/// Most characters of them together; the first is always there. Characters and not bytes: a Chinese one takes three.
const MAX_PASSAGES_CHARS: usize = 2000;
/// Most characters of one.
const MAX_PASSAGE_CHARS: usize = super::passages::PASSAGE_CHARS;
/// Most characters of a cited passage: enough to recognise it, the whole is in the retrieved ones.
const MAX_CITATION_CHARS: usize = 120;

/// A step's output.
#[derive(Debug, Serialize)]
pub(super) struct Output<'a> {
    profile: &'a str,
    provider: &'a str,
    text: &'a str,
    raw_response: RawResponse<'a>,
    metadata: Metadata<'a>,
    input: Refs<'a>,
    context: Refs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passages: Option<Vec<Passage>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    citations: Vec<Passage>,
}

#[derive(Debug, Serialize)]
struct RawResponse<'a> {
    model: &'a str,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    task_id: &'a str,
    sub_id: &'a str,
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Debug, Serialize)]
struct Refs<'a> {
    refs: Vec<&'a str>,
}

impl<'a> Output<'a> {
    /// The output of a step that had the last output as input and the earlier ones as context.
    pub(super) fn new(work: &'a Work, profile: &'a str, provider: &'a str, model: &'a str, text: &'a str) -> Self {
        let refs: Vec<&str> = work.earlier.iter().map(|earlier| earlier.step.as_str()).collect();
        Self {
            profile,
            provider,
            text,
            raw_response: RawResponse { model },
            metadata: Metadata {
                task_id: work.key.id.as_str(),
                sub_id: work.step.as_str(),
                command: work.capability.as_str(),
                usage: None,
            },
            input: Refs { refs: refs.last().copied().into_iter().collect() },
            context: Refs { refs },
            passages: None,
            citations: Vec::new(),
        }
    }

    pub(super) fn usage(mut self, usage: Option<Usage>) -> Self {
        self.metadata.usage = usage;
        self
    }

    pub(super) fn passages(mut self, passages: Vec<Passage>) -> Self {
        self.passages = Some(passages);
        self
    }

    /// Cites passages by file, line and their first words.
    pub(super) fn citations(mut self, cited: &[Passage]) -> Self {
        self.citations = cited.iter().map(citation).collect();
        self
    }

    pub(super) fn json(&self) -> Result<Json, AgentError> {
        Json::of(self).map_err(|error| {
            let message = format!("{}: the output has no JSON form ({error})", self.metadata.command);
            AgentError::Fatal(Failure::new(ErrorCode::InternalError, message))
        })
    }
}

/// A passage as it is cited in an output.
pub(super) fn citation(passage: &Passage) -> Passage {
    let words = passage.text.split_whitespace().collect::<Vec<_>>().join(" ");
    Passage { text: clipped(&words, MAX_CITATION_CHARS).into(), ..passage.clone() }
}

/// The passages that an output has room for, best first, each clipped.
pub(super) fn bounded(passages: Vec<Passage>) -> Vec<Passage> {
    let mut kept: Vec<Passage> = Vec::new();
    let mut chars = 0;
    for passage in passages {
        let text = clipped(&passage.text, MAX_PASSAGE_CHARS);
        let length = text.chars().count();
        if kept.len() < MAX_PASSAGES && (kept.is_empty() || chars + length <= MAX_PASSAGES_CHARS) {
            chars += length;
            kept.push(Passage { text: text.into(), ..passage });
        }
    }
    kept
}

/// The beginning of a text, cut at a line's or word's end where there is one in its second half.
fn clipped(text: &str, most: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(most) else { return text.to_owned() };
    // Room for the mark that says that something is missing.
    let end = text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
    let head = &text[..end];
    let seam = |mark: char| head.rfind(mark).filter(|at| *at >= end / 2);
    let cut = seam('\n').or_else(|| seam(' ')).unwrap_or(end);
    format!("{}…", head[..cut].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(text: &str) -> Passage {
        Passage::new("a.md", 7, text)
    }

    #[test]
    fn clipping_prefers_ends_of_lines_and_words_and_never_cuts_a_character() {
        assert_eq!(clipped("short", 5), "short");
        assert_eq!(clipped("one two three four", 14), "one two…");
        assert_eq!(clipped("line one\nline two is", 18), "line one…");
        assert_eq!(clipped("任務不會遺失", 4), "任務不…");
    }

    #[test]
    fn passages_are_bounded_in_number_and_length_but_one_is_always_there() {
        assert_eq!(bounded(vec![passage("x"); 9]).len(), MAX_PASSAGES);
        let long = bounded(vec![passage(&"任務 ".repeat(390)); MAX_PASSAGES]);
        assert_eq!(long.len(), 2, "a character is one, however many bytes it takes");
        assert!(long[0].text.chars().count() <= MAX_PASSAGE_CHARS);
        let sizes = [300, 900, 400].map(|length| passage(&"y".repeat(length)));
        assert_eq!(bounded(sizes.to_vec()).len(), 3);
    }
}
