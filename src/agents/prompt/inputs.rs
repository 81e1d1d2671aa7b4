//! What a prompt template sees of a step's work. Fields are made when a template asks for them: most ask for few, and an
//! earlier output is large beside the one text that is read from it.

use crate::agents::reading::Reading;
use crate::messages::{Passage, Work};
use crate::task::{Capability, Json, StepId};
use minijinja::Value;
use minijinja::value::{Enumerator, Object, Serde};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a template sees, by name.
pub(super) const NAMES: &[&str] = &["capability", "objective", "context", "context_text", "earlier", "passages"];

/// All that a template sees.
#[derive(Debug)]
pub(super) struct Inputs {
    capability: Capability,
    objective: Arc<str>,
    context: Json,
    earlier: Value,
    passages: Value,
}

/// `earlier`: one step before this one.
#[derive(Debug)]
struct EarlierInput {
    step: StepId,
    capability: Capability,
    text: Arc<str>,
    output: Json,
}

/// `passages`: one piece of evidence, numbered from 1.
#[derive(Debug)]
struct NumberedPassage {
    number: usize,
    passage: Passage,
}

impl Inputs {
    /// The inputs of one step, whose earlier outputs have been read.
    pub(super) fn of(work: &Work, readings: &[Reading], passages: &[Passage]) -> Self {
        let earlier = work.earlier.iter().zip(readings).map(|(earlier, reading)| {
            Value::from_object(EarlierInput {
                step: earlier.step.clone(),
                capability: earlier.capability.clone(),
                text: reading.text.clone(),
                output: earlier.output.clone(),
            })
        });
        let numbered = |(number, passage): (usize, &Passage)| {
            Value::from_object(NumberedPassage { number, passage: passage.clone() })
        };
        Self {
            capability: work.capability.clone(),
            objective: work.objective.clone(),
            context: work.context.clone(),
            earlier: Value::from_object(earlier.collect::<Vec<_>>()),
            passages: Value::from_object((1..).zip(passages).map(numbered).collect::<Vec<_>>()),
        }
    }

    /// Those of a step that has nothing but its question, and of one that has all there can be.
    pub(super) fn samples() -> [Self; 2] {
        let bare = Self {
            capability: Capability::trusted("sample"),
            objective: "why?".into(),
            context: Json::empty(),
            earlier: Value::from_object(Vec::<Value>::new()),
            passages: Value::from_object(Vec::<Value>::new()),
        };
        let step = EarlierInput {
            step: StepId::trusted("sample-P1"),
            capability: Capability::trusted("sample"),
            text: "because".into(),
            output: Json::empty(),
        };
        let passage = Passage { heading: Some("Heading".into()), ..Passage::new("sample.md", 1, "because") };
        let full = Self {
            capability: bare.capability.clone(),
            objective: bare.objective.clone(),
            context: Json::of(&BTreeMap::from([("sample", true)])).unwrap_or_else(|_| Json::empty()),
            // As many as any prompt may name by number.
            earlier: Value::from_object(vec![Value::from_object(step); 100]),
            passages: Value::from_object(vec![Value::from_object(NumberedPassage { number: 1, passage })]),
        };
        [bare, full]
    }

    fn context_text(&self) -> &str {
        let text = self.context.text().trim();
        let is_empty = text == "null" || text.strip_prefix('{').is_some_and(|rest| rest.trim_start() == "}");
        if is_empty { "" } else { text }
    }
}

impl Object for Inputs {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(match key {
            "capability" => self.capability.as_str().into(),
            "objective" => self.objective.clone().into(),
            "context" => parsed(&self.context),
            "context_text" => self.context_text().into(),
            "earlier" => self.earlier.clone(),
            "passages" => self.passages.clone(),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(NAMES)
    }
}

impl Object for EarlierInput {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "step" => self.step.as_str().into(),
            "capability" => self.capability.as_str().into(),
            "text" => self.text.clone().into(),
            "output" => parsed(&self.output),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["step", "capability", "text", "output"])
    }
}

impl Object for NumberedPassage {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "number" => self.number.into(),
            "file" => self.passage.file.clone().into(),
            "line" => self.passage.line.into(),
            "heading" => self.passage.heading.clone()?.into(),
            "text" => self.passage.text.clone().into(),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["number", "file", "line", "heading", "text"])
    }
}

/// The filter `quoted`: a text as lines that begin with `>`, so that a prompt can tell material from instructions and no
/// line of a document can pass for one of the prompt's own.
pub(super) fn quoted(text: &str) -> String {
    let lines = text.trim().lines();
    let mut quoted = String::with_capacity(text.len() + 2 * lines.clone().count());
    let mut quote = |part: &str| {
        quoted.push_str(if quoted.is_empty() { "> " } else { "\n> " });
        quoted.push_str(part);
    };
    for line in lines {
        if may_break(line) {
            // Some readers take these for the end of a line.
            line.split(['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']).for_each(&mut quote);
        } else {
            quote(line);
        }
    }
    if quoted.is_empty() { ">".into() } else { quoted }
}

/// Whether one of those can be in a line, by the bytes that they begin with. Hardly ever, and a look at every byte, without
/// an end before the line's, is one that the processor takes at many bytes at once.
fn may_break(line: &str) -> bool {
    line.bytes().fold(false, |found, byte| found | matches!(byte, b'\r' | 0x0b | 0x0c | 0xc2 | 0xe2))
}

fn parsed(json: &Json) -> Value {
    Serde(json.parse::<serde_json::Value>().unwrap_or_default()).into()
}
