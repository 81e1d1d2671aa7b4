//! The edge of a step's result: `POST /result`, by which a worker answers to work that it accepted. Sent again and again
//! until it is taken or not wanted; the master counts it once.

use super::client::{Call, HttpClient, InvalidUrl, Peers};
use super::keys::{Keys, wire_task};
use super::outcome::{self, ErrorIn, WireStatus};
use super::work_wire::Entries;
use super::{ANSWER_WITHIN, Accepted, Refusal, agent_id, failed, internal_body};
use crate::actors::ActorRef;
use crate::http::auth::Colleague;
use crate::http::error::{ApiError, Envelope};
use crate::http::request::{concerns, json_error};
use crate::http::{Site, resource};
use crate::messages::{CallContext, CallError, Edge, MasterError, Receipt, StepOutcome, StepResult};
use crate::store::Store;
use crate::task::{AttemptNo, ErrorCode, Failure, Json, StepId, Task, TaskKey};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// The largest output that is kept, in bytes; what a foreign worker repeats of its input is taken off before.
const MAX_OUTPUT_BYTES: usize = 2 * 1024 * 1024;

// === Sending ===

/// The way of results to a master, ours or a foreign one.
pub struct ResultEdge {
    client: HttpClient,
    peers: Arc<Peers>,
    path: &'static str,
}

#[derive(Serialize)]
struct ResultOut<'a> {
    task_id: &'a str,
    sub_id: &'a str,
    agent_id: &'a str,
    status: WireStatus,
    output: Json,
    ag2_trace: Option<&'a [Json]>,
    error: Option<Envelope<'a>>,
    metrics: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<AttemptNo>,
}

impl ResultEdge {
    /// The way to the master at this URL, or at the first of several where somebody listens.
    ///
    /// # Errors
    /// [`InvalidUrl`] when no master can be there.
    pub fn of_master(client: HttpClient, master: &str) -> Result<Self, InvalidUrl> {
        Ok(Self { client, peers: Arc::new(Peers::parse(master)?), path: "result" })
    }

    /// The way to this very URL.
    ///
    /// # Errors
    /// [`InvalidUrl`] when it is none.
    pub fn of_callback(client: HttpClient, callback: &str) -> Result<Self, InvalidUrl> {
        Ok(Self { client, peers: Arc::new(Peers::exact(callback)?), path: "" })
    }
}

impl Edge<StepResult> for ResultEdge {
    fn call(
        &self,
        result: StepResult,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Result<Receipt, MasterError>, CallError>> {
        let (status, output, error) = outcome::written(&result.outcome);
        let body = ResultOut {
            task_id: wire_task(&result.key, &result.step),
            sub_id: result.step.as_str(),
            agent_id: result.agent.as_str(),
            status,
            output,
            ag2_trace: (!result.trace.is_empty()).then_some(&result.trace),
            error: error.as_ref().map(outcome::ErrorOut::envelope),
            metrics: None,
            attempt: result.attempt,
        };
        let call = Call::new(Method::POST, self.path, &context).json(&body);
        let (client, peers) = (self.client.clone(), self.peers.clone());
        Box::pin(async move {
            let answered = client.send(&peers, call?).await?;
            if answered.is_success() {
                return Ok(Ok(Receipt::Counted));
            }
            let refusal = Refusal::of(&answered);
            let message: Arc<str> = refusal.message.as_str().into();
            match (answered.status, refusal.code.as_str()) {
                // Only a master says so in its envelope; a wrong URL does not.
                (404, "not_found") => Ok(Err(MasterError::NotFound(message))),
                (409, _) => Ok(Err(MasterError::Conflict(message))),
                (429, _) => {
                    let retry_after_s = answered.retry_after_s.unwrap_or(1);
                    Ok(Err(MasterError::Overloaded { message, retry_after_s }))
                }
                (503, "overloaded") => Ok(Err(MasterError::Draining)),
                (503, "internal_error") => Ok(Err(MasterError::StoreUnavailable(message))),
                (500, _) => Ok(Err(MasterError::Internal(message))),
                _ => Err(failed(&answered)),
            }
        })
    }
}

// === Receiving ===

/// What receives results in a process with a master.
pub struct ResultPort {
    /// Who takes them.
    pub master: ActorRef<StepResult>,
    /// Whose tasks they are of.
    pub keys: Keys,
    /// For the plans that a foreign worker's results belong to.
    pub store: Arc<dyn Store>,
}

#[derive(Deserialize)]
struct ResultIn<'a> {
    task_id: String,
    sub_id: String,
    agent_id: String,
    status: WireStatus,
    #[serde(borrow, default)]
    output: Entries<'a>,
    #[serde(borrow, default)]
    ag2_trace: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    error: Option<ErrorIn>,
    #[serde(default)]
    attempt: Option<u32>,
}

pub(in crate::http) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/result", "POST").route(web::post().to(take)));
}

async fn take(
    _colleague: Colleague,
    site: web::Data<Site>,
    port: web::Data<ResultPort>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = internal_body(&site, &request, payload).await?;
    let wire: ResultIn<'_> = serde_json::from_slice(&body).map_err(|error| json_error(&error))?;
    let step = StepId::parse(&wire.sub_id).map_err(|error| ApiError::invalid("sub_id", error.to_string()))?;
    let agent = agent_id(&wire.agent_id)?;
    if wire.attempt == Some(0) {
        return Err(ApiError::invalid("attempt", "attempt must be at least 1"));
    }
    let key = port.keys.find(wire.task_id.trim(), &step).await?;
    let key = key.ok_or_else(|| ApiError::not_found(format!("there is no task {}", wire.task_id)))?;
    concerns(&request, &key.id);
    let output = output(&port, &key, &step, &wire).await?;
    let outcome = bounded(outcome::read(wire.status, output, wire.error));
    let trace = wire.ag2_trace.unwrap_or_default().into_iter();
    let trace = trace.filter_map(|step| Json::from_text(step.get().to_owned()).ok()).collect();
    let result = StepResult { key, step, agent, attempt: wire.attempt.map(AttemptNo), outcome, trace };
    port.master.ask(result, CallContext::default(), ANSWER_WITHIN).await??;
    Ok(HttpResponse::Accepted().json(Accepted::new()))
}

/// The output as it is kept: where a worker repeated its input and the context in it, references stand in their place.
async fn output(port: &ResultPort, key: &TaskKey, step: &StepId, wire: &ResultIn<'_>) -> Result<Json, ApiError> {
    let is_echo = |name: &str| wire.output.get(name).is_some_and(|value| !is_references(value));
    if !is_echo("input") && !is_echo("context") {
        return Ok(written(&wire.output, None));
    }
    let task = port.store.load(key).await?;
    let earlier = task.map(|task| earlier(&task, step)).unwrap_or_default();
    Ok(written(&wire.output, Some(&earlier)))
}

/// `{"refs": [...]}` and nothing else.
fn is_references(value: &RawValue) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct References {
        #[expect(dead_code, reason = "only its form is asked")]
        refs: Vec<String>,
    }
    serde_json::from_str::<References>(value.get()).is_ok()
}

/// The steps that had succeeded before this one, in plan order.
fn earlier(task: &Task, step: &StepId) -> Vec<String> {
    let place = task.plan.find(step);
    let before = task.outputs().filter(|(index, _)| place.is_none_or(|place| index.position() < place.position()));
    before.map(|(index, _)| task.plan.step(index).id.to_string()).collect()
}

fn written(output: &Entries<'_>, earlier: Option<&[String]>) -> Json {
    #[derive(Serialize)]
    struct References<'a> {
        refs: &'a [String],
    }
    struct Reduced<'a>(&'a Entries<'a>, Option<&'a [String]>);
    impl Serialize for Reduced<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeMap;
            let mut map = serializer.serialize_map(None)?;
            for (name, value) in &self.0.0 {
                match (name.as_ref(), self.1) {
                    ("input", Some(earlier)) if !is_references(value) => {
                        let last = earlier.last().map_or(&[][..], std::slice::from_ref);
                        map.serialize_entry(name, &References { refs: last })?;
                    }
                    ("context", Some(earlier)) if !is_references(value) => {
                        map.serialize_entry(name, &References { refs: earlier })?;
                    }
                    _ => map.serialize_entry(name, value)?,
                }
            }
            map.end()
        }
    }
    Json::of(&Reduced(output, earlier)).unwrap_or_else(|_| Json::empty())
}

/// The same, unless its output is larger than any that is kept: such a step has failed.
fn bounded(outcome: StepOutcome) -> StepOutcome {
    match outcome {
        StepOutcome::Succeeded(output) if output.bytes() > MAX_OUTPUT_BYTES => {
            let message =
                format!("its output of {} bytes is over the {MAX_OUTPUT_BYTES} that are taken", output.bytes());
            StepOutcome::FatalFailure(Failure::new(ErrorCode::ValidationError, message))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(output: &str, earlier: &[&str]) -> String {
        let entries: Entries<'_> = serde_json::from_str(output).unwrap();
        let earlier: Vec<_> = earlier.iter().map(ToString::to_string).collect();
        written(&entries, Some(&earlier)).text().to_owned()
    }

    #[test]
    fn an_echo_becomes_references_and_the_rest_stays_as_it_is() {
        let output = r#"{"text":"x","n":1.0,"input":{"objective":"long"},"context":{"a":1}}"#;
        assert_eq!(
            reduced(output, &["t-P1", "t-P2"]),
            r#"{"text":"x","n":1.0,"input":{"refs":["t-P2"]},"context":{"refs":["t-P1","t-P2"]}}"#
        );
        assert_eq!(reduced(r#"{"input":"text"}"#, &[]), r#"{"input":{"refs":[]}}"#);
        let own = r#"{"input":{"refs":["t-P9"]},"context":{"refs":[]}}"#;
        assert_eq!(reduced(own, &["t-P1"]), own);
    }

    #[test]
    fn an_output_that_is_too_large_fails_its_step() {
        let output = |bytes: usize| StepOutcome::Succeeded(Json::of(&"x".repeat(bytes)).unwrap());
        assert!(matches!(bounded(output(MAX_OUTPUT_BYTES - 2)), StepOutcome::Succeeded(_)));
        assert!(matches!(bounded(output(MAX_OUTPUT_BYTES - 1)), StepOutcome::FatalFailure(_)));
    }
}
