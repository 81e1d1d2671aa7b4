//! The edge of a model call: `POST /generate`, `GET /generate/{call}` to ask after one and `DELETE` to drop it. A caller
//! that leaves takes its call with it; one that hears nothing asks whether the gateway still has it.

use super::client::{Answered, Call, HttpClient, InvalidUrl, Peers};
use super::{ANSWER_WITHIN, Refusal, context, failed, headers, internal_body, with_context};
use crate::actors::ActorRef;
use crate::http::auth::Colleague;
use crate::http::error::ApiError;
use crate::http::request::{escaped, header, json};
use crate::http::{Site, resource};
use crate::messages::{
    CallAge, CallContext, CallError, CallStatus, Completion, DropCall, Edge, Generate, Generated, ModelError, Passage,
    Usage,
};
use crate::task::{CallId, Capability, ErrorCode, Json, Loss};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, Either, select};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a call may run whose sender sets no deadline.
const LONGEST_CALL: Duration = Duration::from_secs(3600);

// === The wire ===

#[derive(Serialize, Deserialize)]
struct WireRequest {
    system_prompt: Arc<str>,
    user_prompt: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<Arc<str>>,
    #[serde(default)]
    metadata: Option<WireEvidence>,
}

/// What providers that work on evidence need; other metadata is ignored.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireEvidence {
    question: Option<Arc<str>>,
    passages: Vec<Passage>,
    #[serde(alias = "command")]
    capability: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireAnswer {
    provider: Arc<str>,
    output_text: Arc<str>,
    #[serde(default)]
    raw_response: Option<Json>,
    #[serde(default)]
    metadata: Option<WireMetadata>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireMetadata {
    citations: Vec<Passage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize, Deserialize)]
struct WireModel {
    model: Arc<str>,
}

#[derive(Serialize, Deserialize)]
struct WireAge {
    age_ms: u64,
    silent_ms: u64,
}

/// The detail of a 502 that says what kind of failure it was.
const KIND: &str = "kind";

// === Sending ===

/// The way of model calls to a gateway elsewhere.
pub struct GenerateEdge {
    client: HttpClient,
    peers: Arc<Peers>,
    /// How long the gateway may leave unsaid that it still has the call.
    silence: Duration,
}

impl GenerateEdge {
    /// The way to the gateway at this URL, or at the first of several where somebody listens.
    ///
    /// # Errors
    /// [`InvalidUrl`] when no gateway can be there.
    pub fn new(client: HttpClient, gateway: &str, silence: Duration) -> Result<Self, InvalidUrl> {
        Ok(Self { client, peers: Arc::new(Peers::parse(gateway)?), silence })
    }
}

impl Edge<Generate> for GenerateEdge {
    fn call(
        &self,
        message: Generate,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Result<Generated, ModelError>, CallError>> {
        let Generate { call: id, completion, provider } = message;
        let body = WireRequest {
            system_prompt: completion.system_prompt(),
            user_prompt: completion.user_prompt(),
            provider,
            metadata: Some(WireEvidence {
                question: Some(completion.question),
                passages: completion.passages,
                capability: Some(completion.capability.to_string()),
            }),
        };
        let call = Call::new(Method::POST, "generate", &context).json(&body).map(|call| {
            let left = call.until.saturating_duration_since(Instant::now());
            with_context(call, &context)
                .header(headers::CALL_ID, id.as_str())
                .header(headers::DEADLINE_MS, &left.as_millis().to_string())
        });
        let (client, peers, silence) = (self.client.clone(), self.peers.clone(), self.silence);
        Box::pin(async move {
            let holder = AtomicUsize::new(0);
            let answered = client.send_noting(&peers, call?, &holder);
            let lost = lost(&client, &peers, &holder, &id, silence);
            let answered = match select(pin!(answered), pin!(lost)).await {
                Either::Left((answered, _)) => answered?,
                Either::Right(((), _)) => return Ok(Err(ModelError::Lost(Loss::GatewayUnreachable))),
            };
            read(&answered)
        })
    }
}

impl Edge<CallStatus> for GenerateEdge {
    fn call(
        &self,
        message: CallStatus,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Option<CallAge>, CallError>> {
        let call = Call::new(Method::GET, format!("generate/{}", escaped(message.0.as_str())), &context);
        let (client, peers) = (self.client.clone(), self.peers.clone());
        Box::pin(async move {
            let mut asked = client.send_to_each(&peers, &call);
            // Where there are several, any may have it, whoever took the last call from here.
            let mut word = Ok(None);
            while let Some(answered) = asked.next().await {
                match answered.and_then(|answered| age(&answered)) {
                    Ok(Some(age)) => return Ok(Some(age)),
                    // One that does not know the question may have the call; one that is silent may not.
                    Err(CallError::Rejected) => word = Err(CallError::Rejected),
                    Err(error) if word.is_ok() => word = Err(error),
                    Ok(None) | Err(_) => {}
                }
            }
            word
        })
    }
}

/// What a gateway says of a call.
fn age(answered: &Answered) -> Result<Option<CallAge>, CallError> {
    match answered.status {
        200..=299 => {
            let age: WireAge = answered.json().ok_or(CallError::Rejected)?;
            Ok(Some(CallAge { age_ms: age.age_ms, silent_ms: age.silent_ms }))
        }
        404 if Refusal::of(answered).code == "not_found" => Ok(None),
        // The predecessor's, which does not know the question.
        404 | 405 => Err(CallError::Rejected),
        // It lets this process ask nothing, which the log says.
        401 | 403 => {
            failed(answered);
            Err(CallError::Rejected)
        }
        _ => Err(failed(answered)),
    }
}

/// Ends when the gateway has not said for too long that it still has the call: a connection may stay open for hours with
/// nobody at its other end. The one is asked that has the call, wherever others have gone since. A gateway that does not
/// know the question, as the predecessor's, is left to its answer.
async fn lost(client: &HttpClient, peers: &Peers, holder: &AtomicUsize, id: &CallId, silence: Duration) {
    let path = format!("generate/{}", escaped(id.as_str()));
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(silence / 3).await;
        let context = CallContext { deadline: Some((Instant::now() + silence / 3).into()), ..CallContext::default() };
        let call = Call::new(Method::GET, path.clone(), &context);
        let asked = client.send_at(peers, holder.load(Ordering::Relaxed), &call).await;
        match asked {
            Ok(answered) if answered.status == 200 => heard = Instant::now(),
            // Ours says so in its envelope: the answer is on its way, or was never begun.
            Ok(answered) if Refusal::of(&answered).code == "not_found" => {}
            Ok(answered) if (400..500).contains(&answered.status) => return std::future::pending().await,
            _ => {}
        }
        if heard.elapsed() >= silence {
            return;
        }
    }
}

fn read(answered: &Answered) -> Result<Result<Generated, ModelError>, CallError> {
    if answered.is_success() {
        let answer: WireAnswer = answered.json().ok_or(CallError::Rejected)?;
        let metadata = answer.metadata.unwrap_or_default();
        let model = answer.raw_response.and_then(|raw| raw.parse::<WireModel>().ok());
        return Ok(Ok(Generated {
            model: model.map_or_else(|| answer.provider.clone(), |raw| raw.model),
            provider: answer.provider,
            text: answer.output_text,
            citations: metadata.citations,
            usage: metadata.usage,
        }));
    }
    if answered.status != 502 {
        return Err(failed(answered));
    }
    let refusal = Refusal::of(answered);
    let message: Arc<str> = match refusal.message.as_str() {
        "" => "the gateway's provider failed, and the gateway does not say how".into(),
        words => words.into(),
    };
    let loss = refusal.detail("loss").and_then(|loss| serde_json::from_value(loss.into()).ok());
    Ok(Err(match (refusal.detail(KIND), loss) {
        (Some("fatal"), _) => ModelError::Fatal(message),
        (Some("crashed"), _) => ModelError::Crashed(message),
        (Some("lost"), Some(loss)) => ModelError::Lost(loss),
        _ => ModelError::Retryable(message),
    }))
}

// === Receiving ===

/// What takes model calls in a process with a gateway.
pub struct GatewayPort {
    /// Who makes them.
    pub generate: ActorRef<Generate>,
    /// Who knows of them.
    pub status: ActorRef<CallStatus>,
    /// Who drops them.
    pub drop_call: ActorRef<DropCall>,
}

pub(in crate::http) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/generate", "POST").route(web::post().to(generate))).service(
        resource("/generate/{call}", "GET, DELETE").route(web::get().to(status)).route(web::delete().to(drop_call)),
    );
}

async fn generate(
    _colleague: Colleague,
    site: web::Data<Site>,
    port: web::Data<GatewayPort>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = internal_body(&site, &request, payload).await?;
    let wire: WireRequest = json(&body)?;
    let evidence = wire.metadata.unwrap_or_default();
    let named = header(&request, headers::CALL_ID.as_str()).map(|text| CallId::parse(&super::unescaped(text)));
    let call = named.transpose().map_err(|error| ApiError::invalid("Callboard-Call-Id", error.to_string()))?;
    let capability = evidence.capability.as_deref().map(Capability::parse).transpose();
    let capability = capability
        .map_err(|error| ApiError::invalid("metadata.capability", error.to_string()))?
        .unwrap_or_else(|| Capability::trusted("generate"));
    let prompted = Completion::prompted(capability, wire.system_prompt, wire.user_prompt);
    let message = Generate {
        call: call.unwrap_or_else(|| CallId::trusted(uuid::Uuid::now_v7().to_string())),
        completion: Completion {
            question: evidence.question.unwrap_or_else(|| prompted.question.clone()),
            passages: evidence.passages,
            ..prompted
        },
        provider: wire.provider,
    };
    let context = context(&request);
    let longest = context.deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
    let answer = port.generate.ask(message, context, longest.unwrap_or(LONGEST_CALL)).await.map_err(not_called)?;
    let generated = answer.map_err(|error| model_failed(&error))?;
    Ok(HttpResponse::Ok().json(WireAnswer {
        provider: generated.provider,
        output_text: generated.text,
        raw_response: Json::of(&WireModel { model: generated.model }).ok(),
        metadata: Some(WireMetadata { citations: generated.citations, usage: generated.usage }),
    }))
}

fn model_failed(error: &ModelError) -> ApiError {
    let (kind, loss) = match error {
        ModelError::Retryable(_) => ("retryable", None),
        ModelError::Fatal(_) => ("fatal", None),
        ModelError::Crashed(_) => ("crashed", None),
        ModelError::Lost(loss) => ("lost", serde_json::to_value(loss).ok()),
    };
    let refusal = ApiError::upstream(StatusCode::BAD_GATEWAY, ErrorCode::DispatchFailed, error.to_string());
    let refusal = refusal.with_detail(KIND, kind);
    match loss.as_ref().and_then(|loss| loss.as_str()) {
        Some(loss) => refusal.with_detail("loss", loss),
        None => refusal,
    }
}

/// What it means that the gateway gave no answer.
fn not_called(error: CallError) -> ApiError {
    match error {
        CallError::Overloaded => ApiError::overloaded("too many model calls are under way: send it again shortly", 1),
        CallError::Timeout => {
            ApiError::upstream(StatusCode::GATEWAY_TIMEOUT, ErrorCode::Timeout, "the model did not answer in time")
        }
        CallError::Crashed | CallError::Rejected | CallError::Unavailable => {
            let message = "the gateway was restarted during this call: send it again";
            ApiError::upstream(StatusCode::BAD_GATEWAY, ErrorCode::Crashed, message)
                .with_detail(KIND, "lost")
                .with_detail("loss", "gateway_unreachable")
        }
    }
}

async fn status(
    _colleague: Colleague,
    port: web::Data<GatewayPort>,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let call = call_id(&path)?;
    let age = port.status.ask(CallStatus(call), CallContext::default(), ANSWER_WITHIN).await.map_err(not_called)?;
    let age = age.ok_or_else(|| ApiError::not_found("there is no such call under way"))?;
    Ok(HttpResponse::Ok().json(WireAge { age_ms: age.age_ms, silent_ms: age.silent_ms }))
}

async fn drop_call(
    _colleague: Colleague,
    port: web::Data<GatewayPort>,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let call = call_id(&path)?;
    port.drop_call.ask(DropCall(call), CallContext::default(), ANSWER_WITHIN).await.map_err(not_called)?;
    Ok(HttpResponse::Ok().json(super::Accepted::new()))
}

fn call_id(text: &str) -> Result<CallId, ApiError> {
    CallId::parse(text).map_err(|error| ApiError::invalid("call_id", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;
    use actix_web::body::MessageBody;

    fn crossed(error: &ModelError) -> ModelError {
        let response = model_failed(error).error_response();
        let status = response.status().as_u16();
        let body = response.into_body().try_into_bytes().unwrap().to_vec();
        read(&Answered { status, retry_after_s: None, body }).unwrap().unwrap_err()
    }

    #[test]
    fn a_models_failure_means_the_same_on_the_other_side() {
        for error in [
            ModelError::Retryable("busy".into()),
            ModelError::Fatal("no such model".into()),
            ModelError::Crashed("boom".into()),
            ModelError::Lost(Loss::Refused),
            ModelError::Lost(Loss::GatewayUnreachable),
        ] {
            assert_eq!(crossed(&error), error);
        }
    }

    #[test]
    fn the_predecessors_gateway_is_understood() {
        let answered = |status, body: &str| Answered { status, retry_after_s: None, body: body.as_bytes().to_vec() };
        let fine = r#"{"provider":"mock","output_text":"x","raw_response":{"model":"m-1"},"metadata":{"a":1}}"#;
        let generated = read(&answered(200, fine)).unwrap().unwrap();
        assert_eq!((&*generated.model, &*generated.text), ("m-1", "x"));
        let failed = read(&answered(502, r#"{"detail":{"error":"x","provider":"gemini"}}"#)).unwrap();
        assert!(matches!(failed, Err(ModelError::Retryable(_))));
        assert_eq!(read(&answered(503, "{}")), Err(CallError::Overloaded));
        assert_eq!(read(&answered(500, "Internal Server Error")), Err(CallError::Crashed));
    }
}
