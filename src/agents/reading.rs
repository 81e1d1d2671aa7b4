//! What an agent reads from the outputs of earlier steps: their words, the passages they found and the ones they cited.
//! Each output is read once a step, and whatever has another form than agents write is passed over.

use crate::messages::{Earlier, Passage};
use crate::task::Json;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// One earlier output, as far as agents understand it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// Its words; empty when there are none.
    pub text: Arc<str>,
    /// The passages that it found.
    pub passages: Vec<Passage>,
    /// The passages that it cited.
    pub citations: Vec<Passage>,
}

impl Reading {
    /// Reads all earlier outputs of a step, in their order.
    pub fn all(earlier: &[Earlier]) -> Vec<Self> {
        earlier.iter().map(|earlier| Self::of(&earlier.output)).collect()
    }

    fn of(output: &Json) -> Self {
        // An array would be read as the fields in order.
        let read = if output.text().trim_start().starts_with('{') { output.parse().ok() } else { None };
        // What our own agents write has the form; a foreign agent's output is picked over piece by piece.
        read.unwrap_or_else(|| Self::lenient(&output.parse().unwrap_or_default()))
    }

    fn lenient(output: &Value) -> Self {
        let list = |key: &str| {
            let items = output.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            items.iter().filter_map(|item| serde_json::from_value(item.clone()).ok()).collect()
        };
        let text = output.get("text").and_then(Value::as_str).unwrap_or_default().into();
        Self { text, passages: list("passages"), citations: list("citations") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{earlier, passage};
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_another_form_is_passed_over() {
        let whole = earlier("retrieve", json!({"text": "one", "passages": [passage("a.md", 1, "a")], "more": [1, {}]}));
        let odd = earlier("other", json!({"text": 7, "passages": [passage("b.md", 2, "b"), {"file": "c.md"}, 3]}));
        let foreign = earlier("foreign", json!(["not an object"]));
        let readings = Reading::all(&[whole, odd, foreign]);
        assert_eq!((&*readings[0].text, readings[0].passages.len()), ("one", 1));
        assert_eq!((&*readings[1].text, readings[1].passages.as_slice()), ("", &[passage("b.md", 2, "b")][..]));
        assert_eq!(readings[2], Reading::default());
    }
}
