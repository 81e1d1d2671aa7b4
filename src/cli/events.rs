//! `callboard events ID`: a task's log, one line for each event; `--follow` waits for those to come and ends with the task.
//! `--json` gives each event as the server sends it, one JSON object a line.

use super::args::EventsArgs;
use super::clean::{clean_json, clean_line};
use super::client::{Client, ClientError};
use super::environment::Environment;
use super::exit::{Exit, Outcome};
use super::follow::{follow_frames, read, so_far};
use super::host::client_command;
use super::output::print;
use super::sse::Frame;
use super::wire::TaskEvent;

/// Runs it.
pub fn events(args: &EventsArgs, environment: &Environment) -> Outcome {
    let client = Client::from_choices(args.server.server.as_deref(), environment)?;
    let mut printed = Ok(());
    let show = |frame: &Frame| {
        let text = if args.server.json { clean_json(&frame.data) } else { line(frame, &read(&client, frame)?) };
        // Whatever reads this has gone: the rest is not worth fetching.
        print(&text).map_err(|exit| {
            printed = Err(exit);
            ClientError::Settings("standard output cannot be written".to_owned())
        })
    };
    let told = client_command(async {
        if args.follow {
            follow_frames(&client, &args.id, args.after, show).await.map(drop).map_err(Exit::from)
        } else {
            so_far(&client, &args.id, args.after, show).await.map_err(Exit::from)
        }
    });
    printed.and(told)
}

/// An event for people: its number, when, what, and what is worth knowing of it.
fn line(frame: &Frame, event: &TaskEvent) -> String {
    let mut line = format!(
        "{} {} {}",
        frame.number().map_or_else(|| "-".to_owned(), |number| number.to_string()),
        event.at,
        event.kind
    );
    let attempt = event.attempt.map(|attempt| format!("attempt {attempt}"));
    let error = event.error.as_ref().map(|error| error.message.clone());
    let plan =
        event.plan.as_ref().map(|plan| plan.iter().map(|step| step.stage.as_str()).collect::<Vec<_>>().join(", "));
    let until = event.until.as_ref().map(|until| format!("until {until}"));
    let parts = [&event.sub_id, &plan, &attempt, &event.agent_id, &event.outcome, &event.reason, &until, &error];
    let words: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    if !words.is_empty() {
        line.push_str(": ");
        line.push_str(&words.join(", "));
    }
    clean_line(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let data = r#"{"seq": 3, "at": "2026-01-01T00:00:00.000Z", "kind": "attempt_ended", "sub_id": "t-P1", "attempt": 2,
            "outcome": "failed", "error": {"code": "x", "message": "no\nway"}}"#;
        let frame = Frame { id: Some("3".into()), event: "attempt_ended".into(), data: data.into() };
        let event = serde_json::from_str(data).unwrap();
        let line = line(&frame, &event);
        assert!(line.starts_with("3 2026-01-01T00:00:00.000Z attempt_ended: t-P1, attempt 2, failed, no"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }
}
