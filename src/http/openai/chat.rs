//! `POST /v1/chat/completions`: one answer, whole or as it comes.

use super::fault::Fault;
use super::question::Question;
use super::{ChatPort, Client, chunks, meant, new_call, text};
use crate::http::Site;
use crate::messages::{Answer, CallContext, Chat, ChatStream, Finish, ToolCall, Usage};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long a call may run.
pub(super) const LONGEST_CALL: Duration = Duration::from_secs(3600);

pub(super) async fn completions(
    _client: Client,
    site: web::Data<Site>,
    port: web::Data<ChatPort>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Fault> {
    let question = Question::read(&text(&site, &request, payload).await?)?;
    let (provider, model) = meant(question.model.as_deref(), &port.providers);
    let asked_for = question.model.clone().unwrap_or_default().into();
    let (streams, wants_usage) = (question.stream.unwrap_or_default(), question.wants_usage());
    let chat = Chat { call: new_call(), completion: question.completion(model)?, provider };
    let head = Head { id: format!("chatcmpl-{}", chat.call), created: created(), model: asked_for };
    if !streams {
        let answer = port.chat.ask(chat, CallContext::default(), LONGEST_CALL).await??;
        return Ok(HttpResponse::Ok().json(head.whole(&answer)));
    }
    let pieces = port.stream.ask(ChatStream(chat), CallContext::default(), LONGEST_CALL).await??;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        // Reverse proxies that buffer would hold pieces back.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(chunks::events(pieces, head, wants_usage)))
}

/// What all parts of one answer say of it.
pub(super) struct Head {
    pub id: String,
    pub created: u64,
    /// The model as it was asked for.
    pub model: Arc<str>,
}

fn created() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Head {
    fn whole(&self, answer: &Answer) -> Value {
        let calls: Vec<_> = answer.calls.iter().map(call).collect();
        let mut message = json!({"role": "assistant", "content": answer.text, "refusal": null});
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
            if answer.text.is_empty() {
                message["content"] = Value::Null;
            }
        }
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": reason(answer.finish)});
        json!({"id": self.id, "object": "chat.completion", "created": self.created, "model": answer.model,
            "choices": [choice], "usage": usage(answer.usage)})
    }
}

fn call(call: &ToolCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments});
    let mut written = json!({"id": call.id, "type": "function", "function": function});
    if let Some(signature) = &call.signature {
        written["extra_content"] = json!({"google": {"thought_signature": signature}});
    }
    written
}

pub(super) fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Filtered => "content_filter",
    }
}

/// Nothing where the provider did not say.
pub(super) fn usage(usage: Option<Usage>) -> Value {
    usage.map_or(Value::Null, |Usage { input_tokens, output_tokens }| {
        json!({"prompt_tokens": input_tokens, "completion_tokens": output_tokens,
            "total_tokens": input_tokens.saturating_add(output_tokens)})
    })
}
