//! The forms on the wire, as `google-genai` types them (`types.py`), read leniently: nearly every field may be absent, and new
//! reasons to end are invented.

use super::{NAME, fault};
use crate::llm::trouble::{Trouble, TroubleKind};
use crate::llm::web::unreadable;
use crate::messages::{
    Answer, ChatMessage, Completion, Embedded, Embedding, Finish, Format, Tool, ToolCall, ToolChoice, Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The most stop sequences that it takes.
const MOST_STOPS: usize = 5;

// === Asking ===

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Value>,
    contents: Vec<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    generation_config: Map<String, Value>,
}

/// What one side says until the other does.
#[derive(Serialize)]
struct Content {
    role: &'static str,
    parts: Vec<Value>,
}

impl Request {
    pub fn of(completion: &Completion) -> Self {
        let system = completion.system_prompt();
        let declared = Some(&completion.tools).filter(|tools| !tools.is_empty());
        Self {
            system_instruction: Some(system)
                .filter(|text| !text.is_empty())
                .map(|text| json!({"parts": [{"text": text}]})),
            contents: contents(&completion.messages),
            tools: declared
                .map(|tools| json!([{"functionDeclarations": tools.iter().map(declaration).collect::<Vec<_>>()}])),
            tool_config: declared.and_then(|_| choice(&completion.tool_choice)),
            generation_config: config(completion),
        }
    }
}

/// The sides take turns: what one says in several messages is one content.
fn contents(messages: &[ChatMessage]) -> Vec<Content> {
    let mut contents: Vec<Content> = Vec::new();
    for message in messages {
        let (role, parts) = match message {
            ChatMessage::System(_) => continue,
            ChatMessage::User(text) => ("user", vec![json!({"text": text})]),
            ChatMessage::Assistant { text, calls } => {
                let text = Some(text).filter(|text| !text.is_empty()).map(|text| json!({"text": text}));
                ("model", text.into_iter().chain(calls.iter().map(call)).collect())
            }
            ChatMessage::Tool { call, name, text } => {
                // An object is given as one, everything else as what it says.
                let given = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
                let response = given.unwrap_or_else(|| json!({"result": text}));
                ("user", vec![json!({"functionResponse": {"id": call, "name": name, "response": response}})])
            }
        };
        match contents.last_mut() {
            Some(last) if last.role == role => last.parts.extend(parts),
            _ => contents.push(Content { role, parts }),
        }
    }
    contents
}

/// With its signature, without which the API refuses to go on.
fn call(call: &ToolCall) -> Value {
    let args =
        serde_json::from_str::<Value>(&call.arguments).ok().filter(Value::is_object).unwrap_or_else(|| json!({}));
    let mut part = json!({"functionCall": {"id": call.id, "name": call.name, "args": args}});
    if let Some(signature) = &call.signature {
        part["thoughtSignature"] = json!(signature);
    }
    part
}

fn declaration(tool: &Tool) -> Value {
    let mut declaration = json!({"name": tool.name});
    if let Some(description) = &tool.description {
        declaration["description"] = json!(description);
    }
    if let Some(parameters) = &tool.parameters {
        declaration["parametersJsonSchema"] = json!(parameters);
    }
    declaration
}

fn choice(choice: &ToolChoice) -> Option<Value> {
    let config = match choice {
        ToolChoice::Auto => return None,
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    };
    Some(json!({"functionCallingConfig": config}))
}

fn config(completion: &Completion) -> Map<String, Value> {
    let sampling = &completion.sampling;
    let mut config = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(name.to_owned(), value);
        }
    };
    set("temperature", sampling.temperature.map(|number| json!(number)));
    set("topP", sampling.top_p.map(|number| json!(number)));
    set("maxOutputTokens", sampling.max_tokens.map(|number| json!(number)));
    set("seed", sampling.seed.map(|number| json!(number)));
    let stops: Vec<_> = sampling.stop.iter().take(MOST_STOPS).collect();
    set("stopSequences", (!stops.is_empty()).then(|| json!(stops)));
    match &completion.format {
        Format::Text => {}
        Format::JsonObject => set("responseMimeType", Some(json!("application/json"))),
        Format::JsonSchema { schema, .. } => {
            set("responseMimeType", Some(json!("application/json")));
            set("responseJsonSchema", Some(json!(schema)));
        }
    }
    config
}

// === Answers ===

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Response {
    candidates: Vec<Candidate>,
    prompt_feedback: Feedback,
    usage_metadata: Option<UsageIn>,
    model_version: Option<String>,
    pub(super) error: Option<fault::Error>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Candidate {
    content: ContentIn,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContentIn {
    parts: Vec<Part>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Part {
    text: Option<String>,
    /// What it thought, which is no part of the answer.
    thought: bool,
    function_call: Option<CallIn>,
    thought_signature: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct CallIn {
    id: Option<Arc<str>>,
    name: Arc<str>,
    #[serde(default)]
    args: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UsageIn {
    prompt_token_count: u64,
    tool_use_prompt_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
}

impl From<UsageIn> for Usage {
    fn from(usage: UsageIn) -> Self {
        Self {
            input_tokens: usage.prompt_token_count + usage.tool_use_prompt_token_count,
            output_tokens: usage.candidates_token_count + usage.thoughts_token_count,
        }
    }
}

/// What one response says: all of an answer, or a piece of a stream.
#[derive(Default)]
pub(super) struct Said {
    pub text: String,
    pub calls: Vec<ToolCall>,
    /// Why it ended, in its own word.
    pub reason: Option<String>,
    pub usage: Option<Usage>,
    pub model: Option<String>,
}

/// Reads one response; `calls` came before it.
pub(super) fn said(response: Response, calls: usize) -> Result<Said, Trouble> {
    if let Some(error) = &response.error {
        return Err(fault::in_stream(error));
    }
    let usage = response.usage_metadata.map(Usage::from);
    // A question that is not answered at all is a 200 without candidates.
    if let Some(reason) = response.prompt_feedback.block_reason.filter(|_| response.candidates.is_empty()) {
        return Err(filtered(&reason).having_used(usage));
    }
    let mut said = Said { usage, model: response.model_version, ..Said::default() };
    let Some(candidate) = response.candidates.into_iter().next() else { return Ok(said) };
    for part in candidate.content.parts {
        if let Some(call) = part.function_call {
            let place = calls + said.calls.len();
            said.calls.push(ToolCall {
                id: call.id.unwrap_or_else(|| format!("call_{place}").into()),
                name: call.name,
                arguments: if call.args.is_null() { "{}".into() } else { call.args.to_string().into() },
                signature: part.thought_signature,
            });
        } else if let Some(text) = part.text.filter(|_| !part.thought) {
            said.text.push_str(&text);
        }
    }
    said.reason = candidate.finish_reason;
    Ok(said)
}

/// Why an answer ended: `STOP` is said with calls, too. What is held back whole is no answer, and neither is a call that the
/// model could not write.
pub(super) fn finish(reason: &str, has_text: bool, has_calls: bool) -> Result<Finish, Trouble> {
    match reason {
        "MAX_TOKENS" => Ok(Finish::Length),
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE" | "IMAGE_SAFETY" => {
            if has_text || has_calls {
                Ok(Finish::Filtered)
            } else {
                Err(filtered(reason))
            }
        }
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" => Err(Trouble::new(
            TroubleKind::Unavailable,
            format!("gemini could not write its call ({reason}): another try may succeed"),
        )),
        _ if has_calls => Ok(Finish::ToolCalls),
        _ => Ok(Finish::Stop),
    }
}

fn filtered(reason: &str) -> Trouble {
    Trouble::new(TroubleKind::Filtered, format!("gemini does not answer this ({reason}): ask otherwise"))
}

/// A complete answer.
pub(super) fn answer(response: Response, model: &str) -> Result<Answer, Trouble> {
    let said = said(response, 0)?;
    let reason = said.reason.as_deref().ok_or_else(|| unreadable("it has no candidate that ended"))?;
    let finish = finish(reason, !said.text.is_empty(), !said.calls.is_empty());
    let finish = finish.map_err(|trouble| trouble.having_used(said.usage))?;
    let model = said.model.unwrap_or_else(|| model.to_owned());
    Ok(Answer { calls: said.calls, finish, usage: said.usage, ..Answer::said(NAME, model, said.text) })
}

// === Vectors ===

#[derive(Serialize)]
pub(super) struct EmbeddingRequest {
    requests: Vec<Value>,
}

impl EmbeddingRequest {
    pub fn of(embedding: &Embedding, model: &str) -> Self {
        let model = format!("models/{}", model.strip_prefix("models/").unwrap_or(model));
        let request = |text: &Arc<str>| {
            let mut request = json!({"model": model, "content": {"parts": [{"text": text}]}});
            if let Some(dimensions) = embedding.dimensions {
                request["outputDimensionality"] = json!(dimensions);
            }
            request
        };
        Self { requests: embedding.texts.iter().map(request).collect() }
    }
}

#[derive(Deserialize)]
pub(super) struct EmbeddingResponse {
    #[serde(default)]
    embeddings: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(default)]
    values: Vec<f32>,
}

/// The vectors in the order of the texts.
pub(super) fn embedded(response: EmbeddingResponse, model: &str, texts: usize) -> Result<Embedded, Trouble> {
    let vectors: Vec<_> = response.embeddings.into_iter().map(|vector| vector.values).collect();
    if vectors.len() != texts || vectors.iter().any(Vec::is_empty) {
        return Err(unreadable("it has not one vector for each text"));
    }
    Ok(Embedded { model: model.into(), vectors, usage: None })
}

#[cfg(test)]
mod tests;
