//! The forms on the wire, as `openai-python` types them (`types/chat`, `types/create_embedding_response.py`), read leniently:
//! servers leave fields out, and send null where a list should be.

use super::{NAME, Quirks};
use crate::llm::trouble::{Trouble, TroubleKind};
use crate::llm::web::unreadable;
use crate::messages::{
    Answer, ChatMessage, Completion, Embedded, Embedding, Finish, Format, ToolCall, ToolChoice, Usage,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

// === Asking ===

#[derive(Serialize)]
pub(super) struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Value>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

impl<'a> Request<'a> {
    pub fn of(completion: &'a Completion, model: &'a str, quirks: Quirks, stream: bool) -> Self {
        let sampling = &completion.sampling;
        let (old, new) =
            if quirks.max_completion_tokens { (None, sampling.max_tokens) } else { (sampling.max_tokens, None) };
        Self {
            model,
            messages: completion.messages.iter().map(message).collect(),
            tools: completion
                .tools
                .iter()
                .map(|tool| json!({"type": "function", "function": function(tool)}))
                .collect(),
            tool_choice: choice(completion),
            response_format: format(&completion.format),
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            max_tokens: old,
            max_completion_tokens: new,
            stop: &sampling.stop,
            seed: sampling.seed.filter(|_| !quirks.no_seed),
            stream,
            stream_options: (stream && !quirks.no_stream_usage).then(|| json!({"include_usage": true})),
        }
    }
}

fn function(tool: &crate::messages::Tool) -> Value {
    let mut function = json!({"name": tool.name});
    if let Some(description) = &tool.description {
        function["description"] = json!(description);
    }
    if let Some(parameters) = &tool.parameters {
        function["parameters"] = json!(parameters);
    }
    function
}

fn message(message: &ChatMessage) -> Message<'_> {
    match message {
        ChatMessage::System(content) => Message::System { content },
        ChatMessage::User(content) => Message::User { content },
        ChatMessage::Assistant { text, calls } => Message::Assistant {
            content: Some(&**text).filter(|text| !text.is_empty()),
            tool_calls: calls
                .iter()
                .map(|call| {
                    let function = json!({"name": call.name, "arguments": call.arguments});
                    json!({"id": call.id, "type": "function", "function": function})
                })
                .collect(),
        },
        ChatMessage::Tool { call, text, .. } => Message::Tool { tool_call_id: call, content: text },
    }
}

/// Servers refuse a choice where there is nothing to choose from.
fn choice(completion: &Completion) -> Option<Value> {
    if completion.tools.is_empty() {
        return None;
    }
    match &completion.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Named(name) => Some(json!({"type": "function", "function": {"name": name}})),
    }
}

fn format(format: &Format) -> Option<Value> {
    match format {
        Format::Text => None,
        Format::JsonObject => Some(json!({"type": "json_object"})),
        Format::JsonSchema { name, schema, strict } => {
            let schema = json!({"name": name, "schema": schema, "strict": strict});
            Some(json!({"type": "json_schema", "json_schema": schema}))
        }
    }
}

// === Answers ===

/// Absent or null: nothing.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
pub(super) struct Response {
    #[serde(default, deserialize_with = "or_nothing")]
    model: String,
    #[serde(default, deserialize_with = "or_nothing")]
    choices: Vec<Choice>,
    usage: Option<UsageIn>,
    error: Option<super::fault::Error>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<MessageIn>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct MessageIn {
    content: Option<Arc<str>>,
    refusal: Option<Arc<str>>,
    #[serde(default, deserialize_with = "or_nothing")]
    tool_calls: Vec<CallIn>,
}

#[derive(Deserialize)]
struct CallIn {
    id: Option<Arc<str>>,
    function: FunctionIn,
}

#[derive(Deserialize)]
struct FunctionIn {
    name: Arc<str>,
    /// A text of JSON; some servers send the JSON itself.
    #[serde(default)]
    arguments: Value,
}

#[derive(Deserialize)]
pub(super) struct UsageIn {
    #[serde(default, deserialize_with = "or_nothing")]
    prompt_tokens: u64,
    #[serde(default, deserialize_with = "or_nothing")]
    completion_tokens: u64,
}

impl From<UsageIn> for Usage {
    fn from(usage: UsageIn) -> Self {
        Self { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens }
    }
}

/// A complete answer.
pub(super) fn answer(response: Response) -> Result<Answer, Trouble> {
    // Some servers put an error into a 200.
    if let Some(error) = &response.error {
        return Err(super::fault::in_stream(error));
    }
    let usage = response.usage.map(Usage::from);
    let choice = response.choices.into_iter().next().ok_or_else(|| unreadable("it has no choices"))?;
    let message = choice.message.unwrap_or_default();
    let calls: Vec<_> = message.tool_calls.into_iter().enumerate().map(|(place, call)| call.read(place)).collect();
    let refused = message.content.is_none() && message.refusal.is_some();
    let text = message.content.or(message.refusal).unwrap_or_else(|| "".into());
    let finish = finish(choice.finish_reason.as_deref(), refused, !calls.is_empty());
    if finish == Finish::Filtered && text.is_empty() && calls.is_empty() {
        return Err(filtered().having_used(usage));
    }
    let model = response.model.into();
    Ok(Answer { provider: NAME.into(), model, text, calls, finish, citations: Vec::new(), usage })
}

impl CallIn {
    fn read(self, place: usize) -> ToolCall {
        let arguments = match self.function.arguments {
            Value::String(text) => text.into(),
            Value::Null => "{}".into(),
            other => other.to_string().into(),
        };
        let id = self.id.unwrap_or_else(|| format!("call_{place}").into());
        ToolCall { id, name: self.function.name, arguments, signature: None }
    }
}

/// Why an answer ended. Calls count more than the word: some servers say `stop` with them.
pub(super) fn finish(reason: Option<&str>, refused: bool, has_calls: bool) -> Finish {
    match reason {
        _ if refused => Finish::Filtered,
        Some("content_filter") => Finish::Filtered,
        Some("length") => Finish::Length,
        _ if has_calls => Finish::ToolCalls,
        _ => Finish::Stop,
    }
}

pub(super) fn filtered() -> Trouble {
    Trouble::new(TroubleKind::Filtered, "the model server held its answer back (content_filter): ask otherwise")
}

// === Vectors ===

#[derive(Serialize)]
pub(super) struct EmbeddingRequest<'a> {
    model: &'a str,
    input: &'a [Arc<str>],
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

impl<'a> EmbeddingRequest<'a> {
    pub fn of(embedding: &'a Embedding, model: &'a str) -> Self {
        Self { model, input: &embedding.texts, encoding_format: "float", dimensions: embedding.dimensions }
    }
}

#[derive(Deserialize)]
pub(super) struct EmbeddingResponse {
    #[serde(default, deserialize_with = "or_nothing")]
    model: String,
    #[serde(default, deserialize_with = "or_nothing")]
    data: Vec<VectorIn>,
    usage: Option<UsageIn>,
}

#[derive(Deserialize)]
struct VectorIn {
    index: Option<usize>,
    embedding: Numbers,
}

/// Some servers send base64 whatever they were asked for: f32 in little-endian.
#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Plain(Vec<f32>),
    Packed(String),
}

impl Numbers {
    fn read(self) -> Result<Vec<f32>, Trouble> {
        let text = match self {
            Self::Plain(numbers) => return Ok(numbers),
            Self::Packed(text) => text,
        };
        let bytes = STANDARD.decode(text).map_err(|error| unreadable(&error.to_string()))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(unreadable("a vector is no whole number of f32"));
        }
        Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
    }
}

/// The vectors in the order of the texts.
pub(super) fn embedded(response: EmbeddingResponse, texts: usize) -> Result<Embedded, Trouble> {
    let mut vectors = vec![Vec::new(); texts];
    for (place, vector) in response.data.into_iter().enumerate() {
        let slot =
            vectors.get_mut(vector.index.unwrap_or(place)).ok_or_else(|| unreadable("it has too many vectors"))?;
        *slot = vector.embedding.read()?;
    }
    if vectors.iter().any(Vec::is_empty) {
        return Err(unreadable("a vector is missing"));
    }
    Ok(Embedded { model: response.model.into(), vectors, usage: response.usage.map(Usage::from) })
}

// === Streams ===

#[derive(Deserialize)]
pub(super) struct Chunk {
    #[serde(default, deserialize_with = "or_nothing")]
    pub model: String,
    #[serde(default, deserialize_with = "or_nothing")]
    pub choices: Vec<ChunkChoice>,
    pub usage: Option<UsageIn>,
    pub error: Option<super::fault::Error>,
}

#[derive(Deserialize)]
pub(super) struct ChunkChoice {
    #[serde(default, deserialize_with = "or_nothing")]
    pub delta: Delta,
    pub finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Delta {
    pub content: Option<Arc<str>>,
    pub refusal: Option<Arc<str>>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub tool_calls: Vec<CallDelta>,
}

#[derive(Deserialize)]
pub(super) struct CallDelta {
    pub index: Option<u32>,
    pub id: Option<Arc<str>>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub function: FunctionDelta,
}

#[derive(Default, Deserialize)]
pub(super) struct FunctionDelta {
    pub name: Option<Arc<str>>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub arguments: String,
}

#[cfg(test)]
mod tests;
