//! The form of a step's output, the same for every agent: the predecessor's keys, with references where it repeated its
//! inputs. The bounds that keep a whole answer small are here.

use super::AgentError;
use crate::messages::{Generated, Passage, Usage, Work};
use crate::task::{ErrorCode, Failure, Json};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Most passages in an output.
pub(super) const MAX_PASSAGES: usize = 5;
/// Most characters of them together; the first is always there. Characters and not bytes: a Chinese one takes three.
const MAX_PASSAGES_CHARS: usize = 2000;
/// Most characters of one.
const MAX_PASSAGE_CHARS: usize = super::passages::PASSAGE_CHARS;
/// Most characters of a cited passage: enough to recognise it, the whole is in the retrieved ones.
const MAX_CITATION_CHARS: usize = 120;

/// The provider and the model of an output that no model had a part in.
const NO_MODEL: &str = "none";

/// A step's output, put together piece by piece: who made it, its words, and what they rest on. The keys that every
/// output has are filled in from the work.
///
/// ```
/// # use callboard::agents::{AgentError, Output};
/// # use callboard::messages::Work;
/// # use callboard::task::Json;
/// fn sum(work: &Work, numbers: &[u32]) -> Result<Json, AgentError> {
///     let sum: u32 = numbers.iter().sum();
///     Output::of(work, "calculator").text(format!("The sum is {sum}.")).field("sum", sum).json()
/// }
/// # let work = callboard::testkit::work("calculate", "what is the sum of 19 and 23?");
/// # let output: serde_json::Value = sum(&work, &[19, 23]).unwrap().parse().unwrap();
/// # assert_eq!((&output["text"], &output["sum"]), (&"The sum is 42.".into(), &42.into()));
/// # assert_eq!(output["metadata"]["command"], "calculate");
/// ```
#[derive(Debug, Serialize)]
pub struct Output<'a> {
    profile: &'a str,
    provider: Cow<'a, str>,
    text: Cow<'a, str>,
    raw_response: RawResponse<'a>,
    metadata: Metadata<'a>,
    input: Refs<'a>,
    context: Refs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passages: Option<Vec<Passage>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    citations: Vec<Passage>,
    /// The agent's own. They come last, so that they cannot hide any of the above.
    #[serde(flatten)]
    own: BTreeMap<&'static str, Value>,
    /// A field of the agent's that cannot be taken, and why.
    #[serde(skip)]
    fault: Option<String>,
}

/// The keys that an agent's own fields may not have.
const TAKEN: [&str; 9] =
    ["profile", "provider", "text", "raw_response", "metadata", "input", "context", "passages", "citations"];

#[derive(Debug, Serialize)]
struct RawResponse<'a> {
    model: Cow<'a, str>,
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
    /// An output without words, made without a model. The profile says what kind of agent made it.
    pub fn of(work: &'a Work, profile: &'a str) -> Self {
        Self::new(work, profile, NO_MODEL, NO_MODEL, "")
    }

    /// The output of a step that had the last output as input and the earlier ones as context.
    pub(super) fn new(work: &'a Work, profile: &'a str, provider: &'a str, model: &'a str, text: &'a str) -> Self {
        let refs: Vec<&str> = work.earlier.iter().map(|earlier| earlier.step.as_str()).collect();
        Self {
            profile,
            provider: provider.into(),
            text: text.into(),
            raw_response: RawResponse { model: model.into() },
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
            own: BTreeMap::new(),
            fault: None,
        }
    }

    /// Its words.
    pub fn text(mut self, text: impl Into<Cow<'a, str>>) -> Self {
        self.text = text.into();
        self
    }

    /// A model's answer: its words, and who gave them at which price. What it cites is [`Output::citations`]' to say.
    pub fn answered(mut self, by: &'a Generated) -> Self {
        self.provider = Cow::Borrowed(&by.provider);
        self.raw_response.model = Cow::Borrowed(&by.model);
        self.text(by.text.trim()).usage(by.usage)
    }

    /// What the words took.
    pub fn usage(mut self, usage: Option<Usage>) -> Self {
        self.metadata.usage = usage;
        self
    }

    /// The evidence for the steps to come, best first; as much of it as there is room for.
    pub fn passages(mut self, passages: Vec<Passage>) -> Self {
        self.passages = Some(bounded(passages));
        self
    }

    /// A field of the agent's own, beside those that every output has.
    pub fn field(mut self, name: &'static str, value: impl Serialize) -> Self {
        let taken = || format!("the field {name:?} is one that every output has");
        match serde_json::to_value(value) {
            Ok(_) if TAKEN.contains(&name) => self.fault = Some(taken()),
            Ok(value) => drop(self.own.insert(name, value)),
            Err(error) => self.fault = Some(format!("the field {name:?} has no JSON form: {error}")),
        }
        self
    }

    /// Cites passages by file, line and their first words.
    pub fn citations(mut self, cited: &[Passage]) -> Self {
        self.citations = cited.iter().map(citation).collect();
        self
    }

    /// As the JSON that [`Agent::perform`](super::Agent::perform) gives back.
    ///
    /// # Errors
    /// [`AgentError::Fatal`] when a field of the agent's own has no JSON form, or a name that is taken.
    pub fn json(&self) -> Result<Json, AgentError> {
        let made = match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => Json::of(self).map_err(|error| error.to_string()),
        };
        made.map_err(|error| {
            let message = format!("{}: the output cannot be written: {error}", self.metadata.command);
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
