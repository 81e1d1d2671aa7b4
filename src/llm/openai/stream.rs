//! An answer as it comes. A stream that ends without a finish reason has broken off, whatever its status said; what it
//! used comes last, in a chunk of its own, where the server says it at all.

use super::fault;
use super::wire::{Chunk, filtered, finish};
use crate::llm::Pieces;
use crate::llm::trouble::{Trouble, TroubleKind};
use crate::llm::web::{Events, unreadable};
use crate::messages::{Finish, Piece, Usage};
use futures_util::stream::{self, StreamExt as _};
use std::collections::VecDeque;

/// The data of the last event.
const DONE: &str = "[DONE]";

/// What came so far.
struct Reading {
    events: Events,
    ready: VecDeque<Piece>,
    model: String,
    finish: Option<Finish>,
    usage: Option<Usage>,
    has_content: bool,
    has_calls: bool,
    refused: bool,
    is_over: bool,
}

/// The pieces of these events.
pub(super) fn pieces(events: Events) -> Pieces {
    let reading = Reading {
        events,
        ready: VecDeque::new(),
        model: String::new(),
        finish: None,
        usage: None,
        has_content: false,
        has_calls: false,
        refused: false,
        is_over: false,
    };
    stream::unfold(reading, |mut reading| async move {
        let piece = reading.next().await?;
        // After an error there is nothing more.
        reading.is_over |= piece.is_err();
        Some((piece, reading))
    })
    .boxed()
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Piece, Trouble>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            if self.is_over {
                return None;
            }
            match self.events.next().await {
                Some(Ok(data)) if data.trim() == DONE => return Some(self.end()),
                Some(Ok(data)) => {
                    let read = serde_json::from_str(&data).map_err(|error| unreadable(&error.to_string()));
                    if let Err(trouble) = read.and_then(|chunk| self.take(chunk)) {
                        return Some(Err(trouble.having_used(self.usage)));
                    }
                }
                Some(Err(trouble)) => return Some(Err(trouble.having_used(self.usage))),
                None => return Some(self.end()),
            }
        }
    }

    fn take(&mut self, chunk: Chunk) -> Result<(), Trouble> {
        if let Some(error) = &chunk.error {
            return Err(fault::in_stream(error));
        }
        if !chunk.model.is_empty() {
            self.model = chunk.model;
        }
        // Each says all that was used until then, so the last one counts.
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.into());
        }
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(()) };
        self.refused |= choice.delta.refusal.is_some();
        let text = choice.delta.content.or(choice.delta.refusal).filter(|text| !text.is_empty());
        self.ready.extend(text.map(Piece::Text));
        for (place, call) in choice.delta.tool_calls.into_iter().enumerate() {
            self.has_calls = true;
            self.ready.push_back(Piece::Call {
                place: call.index.unwrap_or(u32::try_from(place).unwrap_or(u32::MAX)),
                id: call.id.filter(|id| !id.is_empty()),
                name: call.function.name.filter(|name| !name.is_empty()),
                arguments: call.function.arguments.into(),
                signature: None,
            });
        }
        self.has_content |= !self.ready.is_empty();
        if choice.finish_reason.is_some() {
            self.finish = Some(finish(choice.finish_reason.as_deref(), self.refused, self.has_calls));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Piece, Trouble> {
        self.is_over = true;
        match self.finish {
            Some(Finish::Filtered) if !self.has_content => Err(filtered().having_used(self.usage)),
            Some(finish) => Ok(Piece::End { model: std::mem::take(&mut self.model).into(), finish, usage: self.usage }),
            None => {
                let words = "the model server's stream ended before the answer did";
                Err(Trouble::new(TroubleKind::Unavailable, words).having_used(self.usage))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a stream of these events, and how it ends.
    async fn read(events: &[&str]) -> (Vec<Piece>, Option<Trouble>) {
        let events: Vec<_> = events.iter().map(|event| Ok((*event).to_owned())).collect();
        let (mut pieces, mut trouble) = (Vec::new(), None);
        let mut stream = super::pieces(stream::iter(events).boxed());
        while let Some(piece) = stream.next().await {
            assert!(trouble.is_none(), "nothing comes after an error");
            match piece {
                Ok(piece) => pieces.push(piece),
                Err(error) => trouble = Some(error),
            }
        }
        (pieces, trouble)
    }

    const BEGUN: &str =
        r#"{"model":"m-1","choices":[{"index":0,"delta":{"role":"assistant","content":"be"}}],"usage":null}"#;
    const MORE: &str = r#"{"choices":[{"index":0,"delta":{"content":"cause"}}]}"#;
    const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    const USED: &str = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#;

    fn end(usage: Option<Usage>) -> Piece {
        Piece::End { model: "m-1".into(), finish: Finish::Stop, usage }
    }

    #[tokio::test]
    async fn words_come_as_they_are_written_and_what_was_used_last() {
        let (pieces, trouble) = read(&[BEGUN, MORE, STOP, USED, DONE]).await;
        let words = [Piece::Text("be".into()), Piece::Text("cause".into())];
        let usage = Some(Usage { input_tokens: 9, output_tokens: 2 });
        assert_eq!((&pieces[..2], &pieces[2..], trouble), (&words[..], &[end(usage)][..], None));
        // Servers that leave the end away, or say null for no choices.
        let (pieces, trouble) = read(&[BEGUN, STOP, r#"{"choices":null,"usage":null}"#]).await;
        assert_eq!((pieces.last(), trouble), (Some(&end(None)), None));
    }

    #[tokio::test]
    async fn calls_come_in_pieces() {
        let (pieces, _) = read(&[
            r#"{"model":"m-1","choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"add","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"","function":{"arguments":"{}"}}]}}]}"#,
            STOP,
            DONE,
        ])
        .await;
        let begun = Piece::Call {
            place: 0,
            id: Some("c".into()),
            name: Some("add".into()),
            arguments: "".into(),
            signature: None,
        };
        let more = Piece::Call { place: 0, id: None, name: None, arguments: "{}".into(), signature: None };
        let end = Piece::End { model: "m-1".into(), finish: Finish::ToolCalls, usage: None };
        assert_eq!(pieces, [begun, more, end]);
    }

    #[tokio::test]
    async fn a_stream_that_just_ends_has_broken_off() {
        for events in [&[BEGUN, MORE][..], &[BEGUN, MORE, DONE], &[]] {
            let (pieces, trouble) = read(events).await;
            assert_eq!(trouble.map(|trouble| trouble.kind), Some(TroubleKind::Unavailable), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn an_error_within_a_stream_is_told_with_what_was_used() {
        let used = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}"#;
        let error = r#"{"error":{"message":"overloaded","type":"server_error","code":429}}"#;
        let (pieces, trouble) = read(&[BEGUN, used, error, MORE]).await;
        let trouble = trouble.unwrap();
        assert_eq!((pieces.len(), trouble.kind), (1, TroubleKind::Throttled));
        assert_eq!(trouble.usage, Some(Usage { input_tokens: 9, output_tokens: 1 }));
        let (_, trouble) = read(&[BEGUN, "{not json"]).await;
        assert_eq!(trouble.unwrap().kind, TroubleKind::Unavailable);
    }

    #[tokio::test]
    async fn an_answer_that_is_held_back_whole_is_none() {
        let held = r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#;
        assert_eq!(read(&[held, DONE]).await.1.unwrap().kind, TroubleKind::Filtered);
        let (pieces, trouble) = read(&[BEGUN, held, DONE]).await;
        assert!(trouble.is_none() && matches!(pieces[1], Piece::End { finish: Finish::Filtered, .. }));
    }
}
