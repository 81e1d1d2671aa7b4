//! An answer as it comes, as OpenAI's clients read it: chunks as server-sent events, `[DONE]` at the end, and where it breaks
//! off an event that says so instead.

use super::chat::{Head, reason, usage};
use super::fault::Fault;
use crate::messages::{Piece, Pieces};
use actix_web::web::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;

/// The events of a stream. Dropped with the client's connection, it drops the call.
pub(super) fn events(pieces: Pieces, head: Head, wants_usage: bool) -> impl Stream<Item = Result<Bytes, Infallible>> {
    // Until the end says which it was, it is the one that was asked for.
    let model = head.model.clone();
    let writer = Writer { head, wants_usage, model, has_begun: false };
    stream::unfold((pieces, writer, false), |(mut pieces, mut writer, is_over)| async move {
        if is_over {
            return None;
        }
        let (text, is_over) = match pieces.next().await {
            Some(Ok(piece)) => {
                let is_end = matches!(piece, Piece::End { .. });
                (writer.write(piece), is_end)
            }
            Some(Err(trouble)) => (event(&Fault::from(trouble).body()), true),
            None => (String::new(), true),
        };
        Some((Ok(Bytes::from(text)), (pieces, writer, is_over)))
    })
}

struct Writer {
    head: Head,
    wants_usage: bool,
    model: Arc<str>,
    has_begun: bool,
}

impl Writer {
    fn write(&mut self, piece: Piece) -> String {
        match piece {
            Piece::Text(text) => self.delta(json!({"content": text}), Value::Null),
            Piece::Call { place, id, name, arguments, signature } => {
                let mut call = json!({"index": place, "function": {"arguments": arguments}});
                if let Some(id) = id {
                    call["id"] = json!(id);
                    call["type"] = json!("function");
                }
                if let Some(name) = name {
                    call["function"]["name"] = json!(name);
                }
                if let Some(signature) = signature {
                    call["extra_content"] = json!({"google": {"thought_signature": signature}});
                }
                self.delta(json!({"tool_calls": [call]}), Value::Null)
            }
            Piece::End { model, finish, usage: used } => {
                self.model = model;
                let mut text = self.delta(json!({}), json!(reason(finish)));
                if self.wants_usage {
                    let mut last = self.chunk(json!([]));
                    last["usage"] = usage(used);
                    text.push_str(&event(&last));
                }
                text.push_str("data: [DONE]\n\n");
                text
            }
        }
    }

    fn delta(&mut self, mut delta: Value, finish: Value) -> String {
        if !std::mem::replace(&mut self.has_begun, true) {
            delta["role"] = json!("assistant");
        }
        event(&self.chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}])))
    }

    fn chunk(&self, choices: Value) -> Value {
        json!({"id": self.head.id, "object": "chat.completion.chunk", "created": self.head.created, "model": self.model,
            "choices": choices})
    }
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}
