//! What is written, and what is read of what such servers send.

use super::*;
use crate::messages::{Sampling, Tool};
use crate::task::{Capability, Json};

fn question() -> Completion {
    Completion::prompted(Capability::trusted("chat"), "be brief", "why?")
}

fn written(completion: &Completion, quirks: Quirks, stream: bool) -> Value {
    serde_json::to_value(Request::of(completion, "m-1", quirks, stream)).unwrap()
}

fn schema(text: &str) -> Json {
    Json::from_text(text.into()).unwrap()
}

#[test]
fn a_plain_question_says_nothing_that_was_not_asked_for() {
    let messages = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "why?"}]);
    assert_eq!(written(&question(), Quirks::default(), false), json!({"model": "m-1", "messages": messages}));
}

#[test]
fn everything_that_can_be_asked_for_is_written() {
    let call = ToolCall { id: "c-1".into(), name: "add".into(), arguments: r#"{"a":1}"#.into(), signature: None };
    let completion = Completion {
        messages: vec![
            ChatMessage::User("1 + 1?".into()),
            ChatMessage::Assistant { text: "".into(), calls: vec![call] },
            ChatMessage::Tool { call: "c-1".into(), name: "add".into(), text: "2".into() },
        ],
        tools: vec![Tool {
            name: "add".into(),
            description: Some("adds".into()),
            parameters: Some(schema(r#"{"type":"object"}"#)),
        }],
        tool_choice: ToolChoice::Named("add".into()),
        format: Format::JsonSchema { name: "sum".into(), schema: schema(r#"{"type":"object"}"#), strict: true },
        sampling: Sampling {
            temperature: Some(0.5),
            top_p: Some(0.9),
            max_tokens: Some(7),
            stop: vec!["\n".into()],
            seed: Some(1),
        },
        ..question()
    };
    let quirks = Quirks { max_completion_tokens: true, ..Quirks::default() };
    let expected = json!({
        "model": "m-1",
        "messages": [
            {"role": "user", "content": "1 + 1?"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c-1", "type": "function", "function": {"name": "add", "arguments": r#"{"a":1}"#}}]},
            {"role": "tool", "tool_call_id": "c-1", "content": "2"},
        ],
        "tools": [{"type": "function", "function": {"name": "add", "description": "adds",
            "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "sum", "schema": {"type": "object"},
            "strict": true}},
        "temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 7, "stop": ["\n"], "seed": 1,
        "stream": true, "stream_options": {"include_usage": true},
    });
    assert_eq!(written(&completion, quirks, true), expected);
    let quirks = Quirks { no_stream_usage: true, no_seed: true, ..Quirks::default() };
    let other = written(&completion, quirks, true);
    assert_eq!((&other["max_tokens"], other.get("stream_options"), other.get("seed")), (&json!(7), None, None));
}

fn read(text: &str) -> Result<Answer, Trouble> {
    answer(serde_json::from_str(text).unwrap())
}

#[test]
fn an_answer_is_read_with_what_it_used() {
    let text = r#"{"id":"x","object":"chat.completion","model":"m-1-2026","choices":[{"index":0,"message":{"role":"assistant",
        "content":"because","refusal":null,"tool_calls":null},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
    let usage = Some(Usage { input_tokens: 9, output_tokens: 1 });
    assert_eq!(read(text), Ok(Answer { usage, ..Answer::said("openai", "m-1-2026", "because") }));
}

#[test]
fn calls_are_read_also_where_servers_write_them_otherwise() {
    let text = r#"{"model":"m","choices":[{"message":{"content":null,"tool_calls":[
        {"id":"c-9","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}},
        {"function":{"name":"now","arguments":{}}},{"function":{"name":"none"}}]},"finish_reason":"stop"}]}"#;
    let answer = read(text).unwrap();
    let calls: Vec<_> = answer.calls.iter().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
    assert_eq!(calls, [("c-9", "add", r#"{"a":1}"#), ("call_1", "now", "{}"), ("call_2", "none", "{}")]);
    assert_eq!((answer.finish, answer.usage, &*answer.text), (Finish::ToolCalls, None, ""));
}

#[test]
fn what_was_held_back_is_no_answer_and_what_was_cut_off_is_one() {
    let text = |content: &str, reason: &str| {
        format!(
            r#"{{"choices":[{{"message":{{"content":{content}}},"finish_reason":"{reason}"}}],
            "usage":{{"prompt_tokens":4,"completion_tokens":0}}}}"#
        )
    };
    let held = read(&text("null", "content_filter")).unwrap_err();
    assert_eq!((held.kind, held.usage.map(|usage| usage.input_tokens)), (TroubleKind::Filtered, Some(4)));
    assert_eq!(read(&text("\"be\"", "content_filter")).unwrap().finish, Finish::Filtered);
    assert_eq!(read(&text("\"be\"", "length")).unwrap().finish, Finish::Length);
    let refused = r#"{"choices":[{"message":{"content":null,"refusal":"I cannot"},"finish_reason":"stop"}]}"#;
    let refused = read(refused).unwrap();
    assert_eq!((&*refused.text, refused.finish), ("I cannot", Finish::Filtered));
    let error = r#"{"error":{"message":"overloaded","code":503},"choices":null}"#;
    assert_eq!(read(error).unwrap_err().kind, TroubleKind::Unavailable);
    assert_eq!(read(r#"{"choices":[]}"#).unwrap_err().kind, TroubleKind::Unavailable);
}

#[test]
fn vectors_come_in_the_order_of_the_texts_plain_or_packed() {
    let packed = STANDARD.encode([1.0_f32.to_le_bytes(), (-2.5_f32).to_le_bytes()].concat());
    let text = format!(
        r#"{{"model":"e-1","data":[{{"index":1,"embedding":"{packed}"}},{{"index":0,"embedding":[0.5]}}],
        "usage":{{"prompt_tokens":3,"total_tokens":3}}}}"#
    );
    let read = |text: &str, texts| embedded(serde_json::from_str(text).unwrap(), texts);
    let vectors = read(&text, 2).unwrap();
    assert_eq!((vectors.vectors, &*vectors.model), (vec![vec![0.5], vec![1.0, -2.5]], "e-1"));
    assert!(read(&text, 1).is_err(), "one too many");
    assert!(read(&text, 3).is_err(), "one too few");
    assert!(read(r#"{"data":[{"embedding":"AAA="}]}"#, 1).is_err(), "half a number");
}
