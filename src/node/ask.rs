//! The short way for a program that runs Callboard inside itself: a question in, its answer out. What goes over HTTP does
//! not pass here.

use super::Callboard;
use crate::messages::{CallContext, CallError, MasterError, Submit};
use crate::store::StoreError;
use crate::task::{Failure, Json, Payload, Submission, Task, TaskId, TaskKey, TaskOutcome};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long the master may take over a submission.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// What came out of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The task, ended.
    pub task: Arc<Task>,
    /// The output of its last succeeded step, a JSON object; `null` when every step was skipped.
    pub output: Json,
}

/// Why a question got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AskError {
    /// The master did not take it.
    #[error(transparent)]
    Refused(#[from] MasterError),
    /// The master could not be asked.
    #[error("the task could not be handed in: {0}")]
    Call(#[from] CallError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such task.
    #[error("there is no task {0}")]
    NoTask(TaskKey),
    /// The task failed.
    #[error("the task failed: {}", .0.message)]
    Failed(Failure),
    /// The task was cancelled.
    #[error("the task was cancelled: {0}")]
    Cancelled(Arc<str>),
}

// === impl Answer ===

impl Answer {
    /// Its words; empty when it has none.
    pub fn text(&self) -> String {
        self.value().get("text").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    }

    /// The whole output.
    pub fn value(&self) -> serde_json::Value {
        self.output.parse().unwrap_or_default()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

// === impl Callboard ===

impl Callboard {
    /// Asks the team a question and waits for the answer. The task's deadline, an hour, bounds the wait; the task goes
    /// on when this is dropped.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&self, question: &str) -> Result<Answer, AskError> {
        let id = TaskId::trusted(uuid::Uuid::now_v7().to_string());
        let task = self.hand_in(Submission::new(id, question)).await?;
        self.answer(&task.key).await
    }

    /// Hands a task in, and gives it back as it was taken: from then on it is not lost. The same submission again gives
    /// the same task.
    ///
    /// # Errors
    /// [`AskError::Refused`], [`AskError::Call`].
    pub async fn hand_in(&self, submission: Submission) -> Result<Arc<Task>, AskError> {
        let taken = self.submit().ask(Submit(submission), CallContext::default(), SUBMIT_TIMEOUT).await??;
        Ok(taken.task)
    }

    /// Waits until a task has ended, however it did. Its deadline bounds the wait.
    ///
    /// # Errors
    /// [`AskError::NoTask`], [`AskError::Store`].
    pub async fn ended(&self, key: &TaskKey) -> Result<Arc<Task>, AskError> {
        let mut wake = self.store().wake(key);
        loop {
            // Read first: what happened before `wake` was made does not wake.
            let task = self.store().load(key).await?.ok_or_else(|| AskError::NoTask(key.clone()))?;
            if task.end.is_some() {
                return Ok(task);
            }
            let closed = || StoreError::Unavailable("it was closed".into());
            wake.changed().await.map_err(|_| closed())?;
        }
    }

    /// Waits for a task's answer.
    ///
    /// # Errors
    /// [`AskError`], also when the task failed or was cancelled.
    pub async fn answer(&self, key: &TaskKey) -> Result<Answer, AskError> {
        let task = self.ended(key).await?;
        let last = match task.end.as_ref().map(|end| &end.outcome) {
            Some(TaskOutcome::Failed(failure)) => return Err(AskError::Failed(failure.clone())),
            Some(TaskOutcome::Cancelled(reason)) => return Err(AskError::Cancelled(reason.clone())),
            Some(TaskOutcome::Succeeded(last)) => *last,
            None => None,
        };
        let output = last.and_then(|last| task.outputs().find(|(index, _)| *index == last));
        let output = match output {
            Some((_, Payload::Inline(json))) => json.clone(),
            Some((_, Payload::Stored { name, .. })) => {
                let missing = || StoreError::Corrupt(format!("the output {name} of task {key} is missing").into());
                self.store().payload(key, name).await?.ok_or_else(missing)?
            }
            None => Json::null(),
        };
        Ok(Answer { task, output })
    }
}
