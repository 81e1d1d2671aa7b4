//! The wire's form of what came out of a step. The predecessor knows three statuses; how else an attempt of ours may end
//! rides in the error: a panic as its code, a loss in its details.

use crate::http::error::Envelope;
use crate::messages::StepOutcome;
use crate::task::{ErrorCode, Failure, Json, Loss};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// How a step ended, in the predecessor's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WireStatus {
    Succeeded,
    RetryableFailure,
    FatalFailure,
}

/// An error as it is written.
pub(super) struct ErrorOut {
    failure: Failure,
    details: Option<Map<String, Value>>,
}

/// An error as others write it; the predecessor's codes are among ours, and what is no code of ours is no more than a
/// fault of theirs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorIn {
    code: Value,
    message: String,
    details: Option<Map<String, Value>>,
}

/// The wire's status, output and error of an outcome.
pub(super) fn written(outcome: &StepOutcome) -> (WireStatus, Json, Option<ErrorOut>) {
    let failed =
        |status, failure: &Failure| (status, Json::empty(), Some(ErrorOut { failure: failure.clone(), details: None }));
    match outcome {
        StepOutcome::Succeeded(output) => (WireStatus::Succeeded, output.clone(), None),
        StepOutcome::RetryableFailure(failure) => failed(WireStatus::RetryableFailure, failure),
        StepOutcome::FatalFailure(failure) => failed(WireStatus::FatalFailure, failure),
        StepOutcome::Crashed(failure) => {
            failed(WireStatus::RetryableFailure, &Failure { code: ErrorCode::Crashed, ..failure.clone() })
        }
        StepOutcome::Lost(loss) => {
            let words = format!("the attempt was lost, because of {}", loss.name());
            let failure = Failure::new(ErrorCode::WorkerUnavailable, words);
            let details = serde_json::to_value(loss).ok().map(|loss| [(LOSS.to_owned(), loss)].into_iter().collect());
            (WireStatus::RetryableFailure, Json::empty(), Some(ErrorOut { failure, details }))
        }
    }
}

/// Where a loss stands in an error's details.
const LOSS: &str = "loss";

/// An outcome out of the wire's status, output and error.
pub(super) fn read(status: WireStatus, output: Json, error: Option<ErrorIn>) -> StepOutcome {
    let (status, error) = match (status, error) {
        (WireStatus::Succeeded, _) => return StepOutcome::Succeeded(output),
        (status, error) => (status, error.unwrap_or_default()),
    };
    let failure = error.failure();
    let loss = error.details.as_ref().and_then(|details| details.get(LOSS)).cloned();
    match (status, loss.and_then(|loss| serde_json::from_value::<Loss>(loss).ok())) {
        (WireStatus::FatalFailure, _) => StepOutcome::FatalFailure(failure),
        (_, Some(loss)) => StepOutcome::Lost(loss),
        _ if failure.code == ErrorCode::Crashed => StepOutcome::Crashed(failure),
        _ => StepOutcome::RetryableFailure(failure),
    }
}

impl ErrorIn {
    fn failure(&self) -> Failure {
        let code = serde_json::from_value(self.code.clone()).unwrap_or(ErrorCode::InternalError);
        let message: Arc<str> = match self.message.as_str() {
            "" => "the worker said that it failed, and not why".into(),
            words => words.into(),
        };
        Failure { code, message }
    }
}

impl ErrorOut {
    pub fn envelope(&self) -> Envelope<'_> {
        Envelope::from(&self.failure).with_details(self.details.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossed(outcome: &StepOutcome) -> StepOutcome {
        let (status, output, error) = written(outcome);
        let error = error.map(|error| serde_json::to_string(&error.envelope()).unwrap());
        read(status, output, error.map(|text| serde_json::from_str(&text).unwrap()))
    }

    #[test]
    fn every_outcome_means_the_same_on_the_other_side() {
        let failure = |code| Failure::new(code, "why");
        let losses = [Loss::Refused, Loss::Drained, Loss::AgentRestarted, Loss::Unreachable, Loss::GatewayUnreachable];
        let outcomes = [
            StepOutcome::Succeeded(Json::from_text(r#"{"text":"x"}"#.into()).unwrap()),
            StepOutcome::RetryableFailure(failure(ErrorCode::Timeout)),
            StepOutcome::FatalFailure(failure(ErrorCode::BudgetExceeded)),
            StepOutcome::Crashed(failure(ErrorCode::Crashed)),
        ];
        for outcome in outcomes.into_iter().chain(losses.map(StepOutcome::Lost)) {
            assert_eq!(format!("{:?}", crossed(&outcome)), format!("{outcome:?}"));
        }
    }

    #[test]
    fn a_foreign_error_is_read_as_far_as_it_goes() {
        let read_of = |text: &str| read(WireStatus::RetryableFailure, Json::empty(), serde_json::from_str(text).ok());
        let StepOutcome::RetryableFailure(failure) = read_of(r#"{"code":"llm_failed","message":"no"}"#) else {
            panic!()
        };
        assert_eq!((failure.code, &*failure.message), (ErrorCode::InternalError, "no"));
        let StepOutcome::RetryableFailure(failure) = read_of("{}") else { panic!() };
        assert!(failure.message.contains("not why"));
    }
}
