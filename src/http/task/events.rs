//! `GET /task/{id}/events`: a task's log as server-sent events, from any number on and then as it grows. Read in small
//! pages and only as fast as the client takes them; a client that leaves ends its stream.

use super::Named;
use super::event_wire::{event_json, is_last};
use super::wait::load;
use crate::http::Api;
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::http::refusals::{Bounded, Guarded, Invalid, OfTask, Stored};
use crate::http::request::{Params, header, task_key};
use crate::store::Woken;
use crate::task::{At, Event, Task, TaskKey};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::{IntoParams, ToSchema};

/// How many events are read from the store at once.
const PAGE: usize = 64;

/// The task's log as server-sent events, as it was and as it grows
///
/// The stream ends with the task; the answer's schema is that of each of its events. While nothing happens, a comment comes
/// every 15 seconds.
#[utoipa::path(get, path = "/task/{id}/events", tag = "tasks", operation_id = "stream_events",
    params(Named, After, LastEvent),
    responses((status = OK, description = "The stream", body = Frame, content_type = "text/event-stream"),
        Guarded, OfTask, Invalid, Bounded, Stored))]
pub(in crate::http) async fn events(
    caller: Caller,
    api: web::Data<Api>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let seen = Seen::of(&request)?;
    let key = task_key(&request, &caller).await?;
    let task = load(&api, &key).await?;
    let place = Arc::clone(&api.watchers).try_acquire_owned();
    let place = place.map_err(|_| ApiError::overloaded("too many clients wait for tasks just now", 5))?;
    let reader = Reader {
        wake: api.store.wake(&key),
        draining: api.site.readiness.watch(),
        api: api.into_inner(),
        key,
        task,
        seen,
        page: VecDeque::new(),
        stage: Stage::Greeting,
        _place: place,
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        // Reverse proxies that buffer would hold events back.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream::unfold(reader, Reader::next)))
}

/// One server-sent event, as who reads the stream sees it.
#[derive(ToSchema)]
#[schema(as = EventFrame)]
#[expect(dead_code, reason = "`frame` writes it")]
struct Frame {
    /// The event's number and its moment in milliseconds since 1970: what `Last-Event-ID` takes.
    #[schema(pattern = "^[0-9]+-[0-9]+$")]
    id: String,
    /// An `EventKind`. Or `log_truncated`: the log is not the one any more that the client has seen the beginning of.
    event: String,
    /// A `TaskEvent` as JSON. Of `log_truncated`, an object with `after`, what the client has seen, and `last`, where the
    /// log ends now. The stream begins again from the log's first event.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// Where in the log to begin, for its description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`cursor` reads it")]
struct After {
    /// The number of the last event that the client has; 0 when not given.
    #[param(maximum = 18_446_744_073_709_551_615_u64)]
    after: Option<u64>,
}

/// The same in a header, for its description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "`cursor` reads it")]
struct LastEvent {
    /// The `id` of the last event that the client has, or its number alone; counts before `after` unless it is empty. Browsers
    /// send it by themselves when they come back.
    #[param(rename = "Last-Event-ID", nullable = false, pattern = "^([0-9]{1,19}(-[0-9]{1,19})?)?$")]
    last_event_id: Option<String>,
}

/// The last event that a client has: its number, and its moment where that is known. A number alone tells no histories
/// apart: after a loss of power another event may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    number: u64,
    at: Option<At>,
}

impl Seen {
    /// `Last-Event-ID`, which browsers send by themselves when they come back, else `?after=`.
    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let params = Params::of(request)?;
        let invalid = |name| ApiError::invalid(name, format!("{name} must be the number of an event, or left out"));
        let last = header(request, "last-event-id").filter(|text| !text.is_empty());
        // Both are read, so that what is wrong in one is not hidden by the other.
        let last = last.map(|text| Self::parse(text).ok_or_else(|| invalid("Last-Event-ID"))).transpose()?;
        let after = params.get("after");
        let after = after.map(|text| text.parse().map_err(|_| invalid("after"))).transpose()?;
        Ok(last.unwrap_or(Self { number: after.unwrap_or(0), at: None }))
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, at) = match text.split_once('-') {
            Some((number, at)) => (number, Some(At(at.parse().ok()?))),
            None => (text, None),
        };
        Some(Self { number: number.parse().ok()?, at })
    }
}

/// One client's place in a task's log.
struct Reader {
    api: Arc<Api>,
    key: TaskKey,
    /// As last loaded; its plan never changes.
    task: Arc<Task>,
    wake: watch::Receiver<Woken>,
    draining: watch::Receiver<bool>,
    /// The last event that was sent.
    seen: Seen,
    /// Read and not yet sent.
    page: VecDeque<Event>,
    stage: Stage,
    /// Its place among all that wait.
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent yet.
    Greeting,
    /// In the midst of the log, or at its end for now.
    Reading,
    /// The last event was sent, or the stream cannot go on.
    Done,
}

type Chunk = Result<web::Bytes, std::convert::Infallible>;

impl Reader {
    /// The next piece of the stream.
    async fn next(mut self) -> Option<(Chunk, Self)> {
        let text = match self.stage {
            Stage::Done => return None,
            Stage::Greeting => {
                self.stage = Stage::Reading;
                // At once, so that the client sees the stream open though nothing happens.
                "retry: 2000\n\n".to_owned()
            }
            Stage::Reading => match self.read_on().await {
                Ok(text) => text?,
                Err(error) => {
                    // The status is sent already. The client comes back with its cursor, to an answer that says why.
                    tracing::warn!(task = %self.key, reason = error.for_the_log(), "an event stream broke off");
                    return None;
                }
            },
        };
        Some((Ok(text.into()), self))
    }

    /// The next event, or a sign of life when none comes; none when the stream has ended.
    async fn read_on(&mut self) -> Result<Option<String>, ApiError> {
        loop {
            if let Some(event) = self.page.pop_front() {
                return self.send(&event).await.map(Some);
            }
            // Before the read, so that an event after it wakes.
            self.wake.borrow_and_update();
            let goes_on = self.turn_page().await?;
            if goes_on && !self.page.is_empty() {
                continue;
            }
            self.task = load(&self.api, &self.key).await?;
            if !goes_on || self.task.version < self.seen.number {
                return Ok(Some(self.truncated()));
            }
            // A version above what was seen was committed between the two reads, and its wake-up is here already.
            let is_at_the_end = self.task.version == self.seen.number;
            if is_at_the_end && (self.task.end.is_some() || *self.draining.borrow()) {
                return Ok(None);
            }
            tokio::select! {
                changed = self.wake.changed() => if changed.is_err() { return Ok(None) },
                _ = self.draining.changed() => {}
                () = tokio::time::sleep(self.api.options.heartbeat) => return Ok(Some(": alive\n\n".to_owned())),
            }
        }
    }

    /// Reads what comes after what was seen. Answers whether that is still in the log.
    async fn turn_page(&mut self) -> Result<bool, ApiError> {
        let Seen { number, at: Some(at) } = self.seen else {
            self.page = self.events(self.seen.number, PAGE).await?;
            return Ok(true);
        };
        // With the event that was seen before them.
        self.page = self.events(number.saturating_sub(1), PAGE + 1).await?;
        let there = self.page.pop_front();
        let goes_on = there.is_some_and(|event| (event.seq, event.at) == (number, at));
        if !goes_on {
            self.page.clear();
        }
        Ok(goes_on)
    }

    async fn events(&self, after: u64, limit: usize) -> Result<VecDeque<Event>, ApiError> {
        Ok(self.api.store.events(&self.key, after, limit).await?.unwrap_or_default().into())
    }

    async fn send(&mut self, event: &Event) -> Result<String, ApiError> {
        let data = event_json(&*self.api.store, &self.task, event).await?;
        self.seen = Seen { number: event.seq, at: Some(event.at) };
        if is_last(event) {
            self.stage = Stage::Done;
        }
        Ok(frame(self.seen, event.kind.name(), &data))
    }

    /// The log is not the one any more that the client has seen the beginning of: it learns that, and where the log ends now,
    /// and gets all of it, because nobody knows how much of what it has still holds.
    fn truncated(&mut self) -> String {
        let data = format!(r#"{{"after":{},"last":{}}}"#, self.seen.number, self.task.version);
        self.seen = Seen::default();
        frame(self.seen, "log_truncated", &data)
    }
}

/// One server-sent event. Stored JSON may hold line ends between its tokens, and each line is a `data:` of its own.
fn frame(Seen { number, at }: Seen, event: &str, data: &str) -> String {
    let mut frame = format!("id: {number}-{}\nevent: {event}\n", at.unwrap_or(At(0)).0);
    frame.reserve(data.len() + 16);
    for line in data.split(['\n', '\r']) {
        frame.push_str("data: ");
        frame.push_str(line);
        frame.push('\n');
    }
    frame.push('\n');
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_its_data_line_by_line() {
        let seen = Seen { number: 3, at: Some(At(17)) };
        assert_eq!(frame(seen, "planned", "{}"), "id: 3-17\nevent: planned\ndata: {}\n\n");
        assert_eq!(frame(seen, "x", "{\r\n}"), "id: 3-17\nevent: x\ndata: {\ndata: \ndata: }\n\n");
    }
}
