//! What is written, and what is read of what Gemini sends.

use super::*;
use crate::messages::Sampling;
use crate::task::{Capability, Json};

fn question() -> Completion {
    Completion::prompted(Capability::trusted("chat"), "be brief", "why?")
}

fn written(completion: &Completion) -> Value {
    serde_json::to_value(Request::of(completion)).unwrap()
}

fn schema(text: &str) -> Json {
    Json::from_text(text.into()).unwrap()
}

#[test]
fn a_plain_question_says_nothing_that_was_not_asked_for() {
    let expected = json!({"systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [{"role": "user", "parts": [{"text": "why?"}]}]});
    assert_eq!(written(&question()), expected);
}

#[test]
fn a_conversation_takes_turns_and_calls_keep_their_signatures() {
    let call = |id: &str, arguments: &str, signature: Option<&str>| ToolCall {
        id: id.into(),
        name: "add".into(),
        arguments: arguments.into(),
        signature: signature.map(Into::into),
    };
    let result = |id: &str, text: &str| ChatMessage::Tool { call: id.into(), name: "add".into(), text: text.into() };
    let calls = vec![call("c-0", r#"{"a":1}"#, Some("c2ln")), call("c-1", "nonsense", None)];
    let completion = Completion {
        messages: vec![
            ChatMessage::User("1 + 1?".into()),
            ChatMessage::Assistant { text: "".into(), calls },
            result("c-0", r#"{"sum":2}"#),
            result("c-1", "two"),
        ],
        ..question()
    };
    let expected = json!([
        {"role": "user", "parts": [{"text": "1 + 1?"}]},
        {"role": "model", "parts": [
            {"functionCall": {"id": "c-0", "name": "add", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"id": "c-1", "name": "add", "args": {}}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "c-0", "name": "add", "response": {"sum": 2}}},
            {"functionResponse": {"id": "c-1", "name": "add", "response": {"result": "two"}}}]},
    ]);
    assert_eq!(written(&completion)["contents"], expected);
}

#[test]
fn everything_that_can_be_asked_for_is_written() {
    let completion = Completion {
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
            stop: (0..7).map(|n| n.to_string().into()).collect(),
            seed: Some(1),
        },
        ..question()
    };
    let request = written(&completion);
    let declared = json!([{"functionDeclarations": [
        {"name": "add", "description": "adds", "parametersJsonSchema": {"type": "object"}}]}]);
    assert_eq!(request["tools"], declared);
    let choice = json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["add"]}});
    assert_eq!(request["toolConfig"], choice);
    let config = json!({"temperature": 0.5, "topP": 0.9, "maxOutputTokens": 7, "seed": 1,
        "stopSequences": ["0", "1", "2", "3", "4"], "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"}});
    assert_eq!(request["generationConfig"], config);
}

fn read(text: &str) -> Result<Answer, Trouble> {
    answer(serde_json::from_str(text).unwrap(), "gemini-9")
}

#[test]
fn an_answer_is_read_without_what_was_thought() {
    let text = r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"hm","thought":true},
        {"text":"be"},{"text":"cause"}]},"finishReason":"STOP","safetyRatings":[]}],"usageMetadata":{"promptTokenCount":9,
        "candidatesTokenCount":2,"thoughtsTokenCount":5,"totalTokenCount":16},"modelVersion":"gemini-9-001"}"#;
    let usage = Some(Usage { input_tokens: 9, output_tokens: 7 });
    assert_eq!(read(text), Ok(Answer { usage, ..Answer::said("gemini", "gemini-9-001", "because") }));
    let bare = r#"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"A_NEW_ONE"}]}"#;
    assert_eq!(read(bare), Ok(Answer::said("gemini", "gemini-9", "x")));
}

#[test]
fn calls_say_stop_and_are_calls() {
    let text = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"id":"c-9","name":"add","args":{"a":1}},
        "thoughtSignature":"c2ln"},{"functionCall":{"name":"now"}}]},"finishReason":"STOP"}]}"#;
    let answer = read(text).unwrap();
    let calls: Vec<_> = answer.calls.iter().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
    assert_eq!(calls, [("c-9", "add", r#"{"a":1}"#), ("call_1", "now", "{}")]);
    assert_eq!((answer.finish, answer.calls[0].signature.as_deref()), (Finish::ToolCalls, Some("c2ln")));
}

#[test]
fn each_reason_to_end_means_what_it_does() {
    let ended = |text: &str, reason: &str| {
        read(&format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}},"finishReason":"{reason}"}}]}}"#
        ))
    };
    assert_eq!(ended("be", "MAX_TOKENS").unwrap().finish, Finish::Length);
    for reason in ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"] {
        assert_eq!(ended("be", reason).unwrap().finish, Finish::Filtered, "{reason}");
        assert_eq!(ended("", reason).unwrap_err().kind, TroubleKind::Filtered, "{reason}");
    }
    assert_eq!(ended("", "MALFORMED_FUNCTION_CALL").unwrap_err().kind, TroubleKind::Unavailable);
    let blocked = r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":4}}"#;
    let blocked = read(blocked).unwrap_err();
    assert_eq!((blocked.kind, blocked.usage.map(|usage| usage.input_tokens)), (TroubleKind::Filtered, Some(4)));
    assert_eq!(read("{}").unwrap_err().kind, TroubleKind::Unavailable);
}

#[test]
fn there_is_one_vector_for_each_text() {
    let embedding = Embedding { model: None, texts: vec!["a".into(), "b".into()], dimensions: Some(2) };
    let request =
        |text: &str| json!({"model": "models/e-1", "content": {"parts": [{"text": text}]}, "outputDimensionality": 2});
    let written = serde_json::to_value(EmbeddingRequest::of(&embedding, "models/e-1")).unwrap();
    assert_eq!(written, json!({"requests": [request("a"), request("b")]}));
    let read = |texts| {
        let text = r#"{"embeddings":[{"values":[0.5,1.0]},{"values":[2.0,3.0]}]}"#;
        embedded(serde_json::from_str(text).unwrap(), "e-1", texts)
    };
    assert_eq!(read(2).unwrap().vectors, [[0.5, 1.0], [2.0, 3.0]]);
    assert!(read(1).is_err() && read(3).is_err());
}
