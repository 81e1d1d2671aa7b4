//! Follows a task to its end through the event stream, and takes a broken connection up again where it was. It gives up
//! only when nobody has answered for a while; the task goes on without it.

use super::client::{Answer, Client, ClientError};
use super::output::note;
use super::sse::{Frame, Frames};
use super::wire::{Pipeline, TaskEvent};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::Instant;

/// How long it tries to find a server that was there.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// The first pause before another try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What the stream says when the log is not the one any more that was seen.
const TRUNCATED: &str = "log_truncated";

/// Shows each event as it comes, and gives the task's answer once it has ended.
pub async fn follow(
    client: &Client,
    id: &str,
    mut show: impl FnMut(&TaskEvent),
) -> Result<Answer<Pipeline>, ClientError> {
    follow_frames(client, id, 0, |frame| {
        show(&read(client, frame)?);
        Ok(())
    })
    .await
}

/// What an event of the stream says.
pub fn read(client: &Client, frame: &Frame) -> Result<TaskEvent, ClientError> {
    serde_json::from_str(&frame.data).map_err(|error| strange(client, format!("an event cannot be read: {error}")))
}

/// Shows the events above a number that are there now.
pub async fn so_far(
    client: &Client,
    id: &str,
    after: u64,
    mut show: impl FnMut(&Frame) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let last = client.get::<Stand>(&["task", id]).await?.read.version;
    if last <= after {
        return Ok(());
    }
    read_on(client, id, &mut after.to_string(), last, &mut show).await
}

/// How many events a task has.
#[derive(serde::Deserialize)]
struct Stand {
    version: u64,
}

/// Shows each event above a number as it comes, as it stands in the stream.
pub async fn follow_frames(
    client: &Client,
    id: &str,
    after: u64,
    mut show: impl FnMut(&Frame) -> Result<(), ClientError>,
) -> Result<Answer<Pipeline>, ClientError> {
    let mut cursor = after.to_string();
    let mut pause = FIRST_PAUSE;
    let mut heard = Instant::now();
    loop {
        let before = cursor.clone();
        let read = read_on(client, id, &mut cursor, u64::MAX, &mut show).await;
        if cursor != before {
            (pause, heard) = (FIRST_PAUSE, Instant::now());
        }
        // A stream that broke off after the last event must not hide the answer.
        let error = match (read, client.result(id).await) {
            (_, Ok(answer)) if answer.read.has_ended() => return Ok(answer),
            (Err(error), _) | (Ok(()), Err(error)) if is_final(&error) => return Err(error),
            (Ok(()), Ok(_)) => {
                heard = Instant::now();
                None
            }
            (Err(error), _) | (Ok(()), Err(error)) => Some(error),
        };
        if let Some(error) = error
            && heard.elapsed() > GIVE_UP_AFTER
        {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(2 * pause);
    }
}

/// Whether asking again cannot help.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { status, .. } => *status < 500 && *status != 429,
        ClientError::Settings(_) | ClientError::Strange { .. } => true,
        ClientError::Unreachable { .. } => false,
    }
}

/// Reads one connection to its end, or to the event with this number.
async fn read_on(
    client: &Client,
    id: &str,
    cursor: &mut String,
    last: u64,
    show: &mut impl FnMut(&Frame) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let response = client.events(id, cursor).await?;
    let mut bytes = response.bytes_stream();
    let mut frames = Frames::default();
    // A piece that does not come is a broken connection.
    while let Some(Ok(piece)) = bytes.next().await {
        for frame in frames.push(&piece).map_err(|error| strange(client, error.to_string()))? {
            if frame.event == TRUNCATED {
                note("a loss of power cut this task's log: here it is again, from its beginning");
                "0".clone_into(cursor);
                continue;
            }
            if let Some(id) = &frame.id {
                id.clone_into(cursor);
            }
            show(&frame)?;
            if frame.number().is_some_and(|number| number >= last) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn strange(client: &Client, why: String) -> ClientError {
    ClientError::Strange { server: client.server(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    const RUNNING: &str = r#"{"task_id": "t-1", "status": "running", "final_output": null}"#;
    const ENDED: &str = r#"{"task_id": "t-1", "status": "succeeded", "final_output": {"text": "x"}}"#;

    /// One exchange: what the request must hold, and what is answered before the connection breaks off.
    type Exchange = (&'static str, &'static str, String);

    fn stream(id: u32, kind: &str) -> String {
        format!("id: {id}\nevent: {kind}\ndata: {{\"kind\": \"{kind}\"}}\n\n")
    }

    /// A server that plays these exchanges in order, each on a connection of its own, and says what it was asked.
    fn play(exchanges: Vec<Exchange>) -> (Client, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        let played = std::thread::spawn(move || {
            for (expected, status, body) in exchanges {
                let (mut connection, _) = listener.accept().unwrap();
                let lines = BufReader::new(connection.try_clone().unwrap()).lines().map(Result::unwrap);
                let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let request = request.join("\n");
                assert!(request.contains(expected), "{request}");
                // No length: the end of the connection ends the body.
                write!(connection, "HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}").unwrap();
            }
        });
        (client, played)
    }

    #[tokio::test]
    async fn a_broken_stream_is_taken_up_where_it_was() {
        let (client, played) = play(vec![
            ("last-event-id: 0", "200 OK", format!("{}id: 2\nevent: lost", stream(1, "accepted"))),
            ("GET /task/t-1/result", "202 Accepted", RUNNING.to_owned()),
            ("last-event-id: 1", "503 Unavailable", r#"{"code": "overloaded", "message": "later"}"#.to_owned()),
            ("GET /task/t-1/result", "202 Accepted", RUNNING.to_owned()),
            ("last-event-id: 1", "200 OK", stream(2, "task_succeeded")),
            ("GET /task/t-1/result", "200 OK", ENDED.to_owned()),
        ]);
        let mut kinds = Vec::new();
        let answer = follow(&client, "t-1", |event| kinds.push(event.kind.clone())).await.unwrap();
        assert_eq!((kinds, answer.text.as_str()), (vec!["accepted".to_owned(), "task_succeeded".to_owned()], ENDED));
        played.join().unwrap();
    }

    #[tokio::test]
    async fn what_asking_again_cannot_help_ends_it() {
        let gone = r#"{"code": "not_found", "message": "no such task"}"#;
        let answers =
            ["last-event-id: 0", "GET /task/t-1/result"].map(|expected| (expected, "404 Not Found", gone.to_owned()));
        let (client, played) = play(answers.to_vec());
        let error = follow(&client, "t-1", |_| {}).await.err().unwrap();
        assert_eq!(error.to_string(), "no such task");
        played.join().unwrap();
    }
}
