//! One question to a server: handed in, watched to its end, cancelled when the user wants out. How the answer is shown is
//! the caller's choice.

use super::client::{Answer, Client, ClientError};
use super::exit::{Code, Exit};
use super::follow::follow;
use super::output::note;
use super::progress::Progress;
use super::wire::Pipeline;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What is asked, and how.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The words.
    pub objective: String,
    /// What the agents should know besides.
    pub context: Map<String, Value>,
    /// How long the task has.
    pub deadline: Option<Duration>,
    /// How urgent it is.
    pub priority: Option<String>,
}

impl Question {
    /// The body of `POST /task`.
    fn body(&self) -> Value {
        let mut options = Map::new();
        if let Some(deadline) = self.deadline {
            options.insert("deadline_ms".into(), u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX).into());
        }
        if let Some(priority) = &self.priority {
            options.insert("priority".into(), priority.as_str().into());
        }
        json!({"objective": self.objective, "context": self.context, "options": options})
    }
}

/// Asks, shows the steps as they happen, and gives what the task ended with, whichever end that was.
pub async fn ask(
    client: &Client,
    question: &Question,
    interrupted: &CancellationToken,
) -> Result<Answer<Pipeline>, Exit> {
    ask_at(client, client, question, interrupted).await
}

/// The same, handed in at one server and watched at another that has the same store.
pub async fn ask_at(
    taker: &Client,
    client: &Client,
    question: &Question,
    interrupted: &CancellationToken,
) -> Result<Answer<Pipeline>, Exit> {
    let id = taker.submit(&question.body(), Duration::ZERO).await?.read.task_id;
    let mut progress = Progress::new();
    let ended = {
        let following = follow(client, &id, |event| progress.show(event));
        tokio::pin!(following);
        tokio::select! {
            ended = &mut following => ended,
            () = interrupted.cancelled() => {
                note("cancelling the task; again to end at once");
                match client.cancel(&id).await {
                    // The stream tells how it ends: it may have done so in the meantime, which is the conflict.
                    Ok(_) | Err(ClientError::Refused { status: 409, .. }) => following.await,
                    Err(error) => Err(error),
                }
            }
        }
    };
    progress.end();
    Ok(ended?)
}

/// How the process ends after a task that ended so.
pub fn verdict(pipeline: &Pipeline) -> Result<(), Exit> {
    let reason = pipeline.error.as_ref().map_or("no reason is given", |error| error.message.as_str());
    let (id, reason) = (super::clean::clean_line(&pipeline.task_id), super::clean::clean_line(reason));
    match pipeline.status.as_str() {
        "succeeded" => Ok(()),
        "cancelled" => Err(Exit::new(Code::Cancelled, format!("task {id} was cancelled: {reason}"))),
        _ => Err(Exit::new(Code::Failure, format!("task {id} failed: {reason}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_only_what_was_chosen() {
        let least = Question { objective: "why?".into(), ..Question::default() };
        assert_eq!(least.body(), json!({"objective": "why?", "context": {}, "options": {}}));
        let full = Question { deadline: Some(Duration::from_secs(2)), priority: Some("high".into()), ..least };
        assert_eq!(full.body()["options"], json!({"deadline_ms": 2000, "priority": "high"}));
    }

    #[test]
    fn each_end_has_its_code() {
        let code = |status: &str| {
            let pipeline = json!({"task_id": "t-1", "status": status, "error": {"message": "it\nbroke"}});
            verdict(&serde_json::from_value(pipeline).unwrap()).err().map(|exit| (exit.code as u8, exit.message))
        };
        assert_eq!(code("succeeded"), None);
        assert_eq!(code("failed"), Some((1, "task t-1 failed: it broke".into())));
        assert_eq!(code("cancelled"), Some((4, "task t-1 was cancelled: it broke".into())));
    }
}
