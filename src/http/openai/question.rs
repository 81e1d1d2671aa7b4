//! What such a client asks, read into a question that any provider understands. What no provider here can do is refused; what
//! only changes how a client is served (`user`, `metadata`, `store`) is not looked at.

use super::fault::Fault;
use crate::messages::{ChatMessage, Completion, Format, Sampling, Tool, ToolCall, ToolChoice};
use crate::task::{Capability, Json};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// `POST /v1/chat/completions`.
#[derive(Deserialize)]
pub(super) struct Question {
    pub model: Option<String>,
    messages: Vec<MessageIn>,
    #[serde(default)]
    tools: Option<Vec<ToolIn>>,
    tool_choice: Option<ChoiceIn>,
    response_format: Option<FormatIn>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    stop: Option<OneOrMore>,
    seed: Option<i64>,
    n: Option<u32>,
    #[serde(default)]
    pub stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct MessageIn {
    role: String,
    content: Option<Content>,
    tool_calls: Option<Vec<CallIn>>,
    tool_call_id: Option<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(Arc<str>),
    Parts(Vec<PartIn>),
}

#[derive(Deserialize)]
struct PartIn {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Deserialize)]
struct CallIn {
    id: Arc<str>,
    function: FunctionIn,
    /// Where our own answers carry what Gemini wants back.
    extra_content: Option<Value>,
}

#[derive(Deserialize)]
struct FunctionIn {
    name: Arc<str>,
    #[serde(default)]
    arguments: Arc<str>,
}

#[derive(Deserialize)]
struct ToolIn {
    #[serde(rename = "type")]
    kind: String,
    function: Option<DeclaredIn>,
}

#[derive(Deserialize)]
struct DeclaredIn {
    name: Arc<str>,
    description: Option<Arc<str>>,
    parameters: Option<Json>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ChoiceIn {
    Word(String),
    Named { function: NameIn },
}

#[derive(Deserialize)]
struct NameIn {
    name: Arc<str>,
}

/// No enum by its tag: that would be read by way of values, which a schema's text does not survive.
#[derive(Deserialize)]
struct FormatIn {
    #[serde(rename = "type")]
    kind: String,
    json_schema: Option<SchemaIn>,
}

#[derive(Deserialize)]
struct SchemaIn {
    name: Arc<str>,
    schema: Option<Json>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(Arc<str>),
    More(Vec<Arc<str>>),
}

impl Question {
    /// Reads one.
    ///
    /// # Errors
    /// [`Fault`], in OpenAI's words.
    pub fn read(body: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice(body)
            .map_err(|error| Fault::invalid("messages", format!("the body cannot be read: {error}")))
    }

    /// Whether a stream is to end with what was used.
    pub fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    /// The question, to this model.
    ///
    /// # Errors
    /// [`Fault`], where it asks for what nobody here can do.
    pub fn completion(self, model: Option<Arc<str>>) -> Result<Completion, Fault> {
        if self.n.is_some_and(|n| n != 1) {
            return Err(Fault::invalid("n", "one answer at a time is given here: leave n out, or ask again"));
        }
        let messages = messages(self.messages)?;
        let asked = messages.iter().rev().find_map(|message| match message {
            ChatMessage::User(text) => Some(text.clone()),
            _ => None,
        });
        Ok(Completion {
            capability: Capability::trusted("chat"),
            question: asked.unwrap_or_else(|| "".into()),
            passages: Vec::new(),
            model,
            messages,
            tools: self.tools.unwrap_or_default().into_iter().map(tool).collect::<Result<_, _>>()?,
            tool_choice: choice(self.tool_choice)?,
            format: format(self.response_format)?,
            sampling: Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                max_tokens: self.max_completion_tokens.or(self.max_tokens),
                stop: match self.stop {
                    None => Vec::new(),
                    Some(OneOrMore::One(stop)) => vec![stop],
                    Some(OneOrMore::More(stops)) => stops,
                },
                seed: self.seed,
            },
        })
    }
}

fn messages(given: Vec<MessageIn>) -> Result<Vec<ChatMessage>, Fault> {
    if given.is_empty() {
        return Err(Fault::invalid("messages", "there are no messages: send at least one"));
    }
    let mut messages: Vec<ChatMessage> = Vec::with_capacity(given.len());
    for message in given {
        let text = message.content.map_or(Ok("".into()), text)?;
        let read = match message.role.as_str() {
            "system" | "developer" => ChatMessage::System(text),
            "user" => ChatMessage::User(text),
            "assistant" => {
                let calls = message.tool_calls.unwrap_or_default().into_iter().map(call).collect();
                ChatMessage::Assistant { text, calls }
            }
            "tool" => {
                let missing = || Fault::invalid("messages", "a message of the role tool needs a tool_call_id");
                let call = message.tool_call_id.ok_or_else(missing)?;
                let name = called(&messages, &call).unwrap_or_else(|| call.clone());
                ChatMessage::Tool { call, name, text }
            }
            other => {
                let words = format!("there is no role {other:?}: use system, user, assistant or tool");
                return Err(Fault::invalid("messages", words));
            }
        };
        messages.push(read);
    }
    Ok(messages)
}

/// The name of the tool that was called under this id.
fn called(messages: &[ChatMessage], id: &str) -> Option<Arc<str>> {
    let calls = messages.iter().rev().filter_map(|message| match message {
        ChatMessage::Assistant { calls, .. } => Some(calls),
        _ => None,
    });
    calls.flatten().find(|call| *call.id == *id).map(|call| call.name.clone())
}

fn text(content: Content) -> Result<Arc<str>, Fault> {
    match content {
        Content::Text(text) => Ok(text),
        Content::Parts(parts) => {
            if let Some(other) = parts.iter().find(|part| part.kind != "text") {
                let words = format!("a part of the type {:?} is not understood here: send text", other.kind);
                return Err(Fault::invalid("messages", words));
            }
            Ok(parts.into_iter().filter_map(|part| part.text).collect::<String>().into())
        }
    }
}

fn call(given: CallIn) -> ToolCall {
    let signature = given.extra_content.as_ref().and_then(|extra| extra["google"]["thought_signature"].as_str());
    ToolCall {
        id: given.id,
        name: given.function.name,
        arguments: given.function.arguments,
        signature: signature.map(Into::into),
    }
}

fn tool(given: ToolIn) -> Result<Tool, Fault> {
    let kind = given.kind;
    let unknown =
        || Fault::invalid("tools", format!("a tool of the type {kind:?} is not understood here: use function"));
    let DeclaredIn { name, description, parameters } =
        given.function.filter(|_| kind == "function").ok_or_else(unknown)?;
    Ok(Tool { name, description, parameters })
}

fn choice(given: Option<ChoiceIn>) -> Result<ToolChoice, Fault> {
    match given {
        None => Ok(ToolChoice::Auto),
        Some(ChoiceIn::Named { function }) => Ok(ToolChoice::Named(function.name)),
        Some(ChoiceIn::Word(word)) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            other => {
                let words = format!("there is no tool_choice {other:?}: use auto, none, required or a function");
                Err(Fault::invalid("tool_choice", words))
            }
        },
    }
}

fn format(given: Option<FormatIn>) -> Result<Format, Fault> {
    let Some(FormatIn { kind, json_schema }) = given else { return Ok(Format::Text) };
    match (kind.as_str(), json_schema) {
        ("text", _) => Ok(Format::Text),
        ("json_object", _) => Ok(Format::JsonObject),
        ("json_schema", Some(SchemaIn { name, schema, strict })) => Ok(Format::JsonSchema {
            name,
            schema: schema.unwrap_or_else(Json::empty),
            strict: strict.unwrap_or_default(),
        }),
        _ => {
            let words = format!(
                "there is no response_format {kind:?}: use text, json_object, or json_schema with its json_schema"
            );
            Err(Fault::invalid("response_format", words))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Completion, Fault> {
        Question::read(text.as_bytes())?.completion(None)
    }

    #[test]
    fn a_conversation_is_read_with_its_calls_and_their_results() {
        let completion = read(
            r#"{"model":"x","user":"somebody","messages":[{"role":"developer","content":"be brief"},
            {"role":"user","content":[{"type":"text","text":"1 + "},{"type":"text","text":"1?"}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c-1","type":"function","function":{"name":"add",
            "arguments":"{}"},"extra_content":{"google":{"thought_signature":"c2ln"}}}]},
            {"role":"tool","tool_call_id":"c-1","content":"2"}],"stop":"\n","max_tokens":7,"max_completion_tokens":9,
            "tools":[{"type":"function","function":{"name":"add","parameters":{"type":"object"}}}],
            "tool_choice":{"type":"function","function":{"name":"add"}},"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}}}"#,
        )
        .unwrap();
        let call =
            ToolCall { id: "c-1".into(), name: "add".into(), arguments: "{}".into(), signature: Some("c2ln".into()) };
        let expected = [
            ChatMessage::System("be brief".into()),
            ChatMessage::User("1 + 1?".into()),
            ChatMessage::Assistant { text: "".into(), calls: vec![call] },
            ChatMessage::Tool { call: "c-1".into(), name: "add".into(), text: "2".into() },
        ];
        assert_eq!(completion.messages, expected);
        assert_eq!((&*completion.question, completion.sampling.max_tokens), ("1 + 1?", Some(9)));
        assert_eq!(completion.sampling.stop, [Arc::from("\n")]);
        let schema = Json::from_text(r#"{"type":"object"}"#.into()).unwrap();
        let format = Format::JsonSchema { name: "s".into(), schema, strict: false };
        assert_eq!((completion.tool_choice, completion.format), (ToolChoice::Named("add".into()), format));
        assert_eq!(&*completion.tools[0].name, "add");
    }

    #[test]
    fn what_nobody_here_can_do_is_refused_in_words() {
        let hello = r#""messages":[{"role":"user","content":"x"}]"#;
        let table = [
            ("{".to_owned(), "cannot be read"),
            (r#"{"messages":[]}"#.to_owned(), "there are no messages"),
            (r#"{"messages":[{"role":"robot","content":"x"}]}"#.to_owned(), "there is no role"),
            (r#"{"messages":[{"role":"tool","content":"x"}]}"#.to_owned(), "tool_call_id"),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#.to_owned(),
                "a part of the type \"image_url\"",
            ),
            (format!(r#"{{{hello},"n":2}}"#), "one answer at a time"),
            (format!(r#"{{{hello},"response_format":{{"type":"json_schema"}}}}"#), "there is no response_format"),
            (format!(r#"{{{hello},"tool_choice":"perhaps"}}"#), "there is no tool_choice"),
            (format!(r#"{{{hello},"tools":[{{"type":"web_search"}}]}}"#), "a tool of the type"),
        ];
        for (text, words) in table {
            let fault = read(&text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(fault.to_string().contains(words), "{text}: {fault}");
        }
    }
}
