//! An answer as it comes. There is no last event that says so: the stream just ends, and one that ends without a reason has
//! broken off. Each response says all that was used until then.

use super::wire::{Response, finish, said};
use crate::llm::Pieces;
use crate::llm::trouble::{Trouble, TroubleKind};
use crate::llm::web::{Events, unreadable};
use crate::messages::{Piece, Usage};
use futures_util::stream::{self, StreamExt as _};
use std::collections::VecDeque;

/// What came so far.
struct Reading {
    events: Events,
    ready: VecDeque<Piece>,
    model: String,
    reason: Option<String>,
    usage: Option<Usage>,
    has_text: bool,
    calls: usize,
    is_over: bool,
}

/// The pieces of these events.
pub(super) fn pieces(events: Events, model: &str) -> Pieces {
    let reading = Reading {
        events,
        ready: VecDeque::new(),
        model: model.to_owned(),
        reason: None,
        usage: None,
        has_text: false,
        calls: 0,
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
                Some(Ok(data)) => {
                    let read = serde_json::from_str(&data).map_err(|error| unreadable(&error.to_string()));
                    if let Err(trouble) = read.and_then(|response| self.take(response)) {
                        return Some(Err(trouble.having_used(self.usage)));
                    }
                }
                Some(Err(trouble)) => return Some(Err(trouble.having_used(self.usage))),
                None => return Some(self.end()),
            }
        }
    }

    fn take(&mut self, response: Response) -> Result<(), Trouble> {
        let said = said(response, self.calls)?;
        self.usage = said.usage.or(self.usage);
        self.model = said.model.unwrap_or_else(|| std::mem::take(&mut self.model));
        self.reason = said.reason.or(self.reason.take());
        if !said.text.is_empty() {
            self.has_text = true;
            self.ready.push_back(Piece::Text(said.text.into()));
        }
        for call in said.calls {
            self.ready.push_back(Piece::Call {
                place: u32::try_from(self.calls).unwrap_or(u32::MAX),
                id: Some(call.id),
                name: Some(call.name),
                arguments: call.arguments,
                signature: call.signature,
            });
            self.calls += 1;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Piece, Trouble> {
        self.is_over = true;
        let Some(reason) = &self.reason else {
            let words = "gemini's stream ended before the answer did";
            return Err(Trouble::new(TroubleKind::Unavailable, words).having_used(self.usage));
        };
        let finish = finish(reason, self.has_text, self.calls > 0);
        let finish = finish.map_err(|trouble| trouble.having_used(self.usage))?;
        Ok(Piece::End { model: std::mem::take(&mut self.model).into(), finish, usage: self.usage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Finish;

    /// The pieces of a stream of these events, and how it ends.
    async fn read(events: &[&str]) -> (Vec<Piece>, Option<Trouble>) {
        let events: Vec<_> = events.iter().map(|event| Ok((*event).to_owned())).collect();
        let (mut pieces, mut trouble) = (Vec::new(), None);
        let mut stream = super::pieces(stream::iter(events).boxed(), "gemini-9");
        while let Some(piece) = stream.next().await {
            assert!(trouble.is_none(), "nothing comes after an error");
            match piece {
                Ok(piece) => pieces.push(piece),
                Err(error) => trouble = Some(error),
            }
        }
        (pieces, trouble)
    }

    const BEGUN: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"be"}]}}],
        "usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1},"modelVersion":"gemini-9-001"}"#;
    const ENDED: &str = r#"{"candidates":[{"content":{"parts":[{"text":"cause"}]},"finishReason":"STOP"}],
        "usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":5}}"#;

    #[tokio::test]
    async fn words_come_as_they_are_written_and_the_last_count_counts() {
        let (pieces, trouble) = read(&[BEGUN, ENDED]).await;
        let usage = Some(Usage { input_tokens: 9, output_tokens: 7 });
        let end = Piece::End { model: "gemini-9-001".into(), finish: Finish::Stop, usage };
        assert_eq!(pieces, [Piece::Text("be".into()), Piece::Text("cause".into()), end]);
        assert_eq!(trouble, None);
    }

    #[tokio::test]
    async fn calls_are_numbered_over_the_whole_stream() {
        let call = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"add","args":{"a":1}},
            "thoughtSignature":"c2ln"}]},"finishReason":"STOP"}]}"#;
        let (pieces, _) = read(&[call, call]).await;
        let told: Vec<_> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Call { place, id, signature, .. } => format!("{place} {id:?} {signature:?}"),
                Piece::End { finish, .. } => format!("{finish:?}"),
                Piece::Text(_) => "words".to_owned(),
            })
            .collect();
        let called = |n: u32| format!("{n} Some(\"call_{n}\") Some(\"c2ln\")");
        assert_eq!(told, [called(0), called(1), "ToolCalls".to_owned()]);
    }

    #[tokio::test]
    async fn a_stream_that_just_ends_without_a_reason_has_broken_off() {
        let (pieces, trouble) = read(&[BEGUN]).await;
        let trouble = trouble.unwrap();
        assert_eq!((pieces.len(), trouble.kind), (1, TroubleKind::Unavailable));
        assert_eq!(trouble.usage, Some(Usage { input_tokens: 9, output_tokens: 1 }));
        assert_eq!(read(&[]).await.1.unwrap().kind, TroubleKind::Unavailable);
    }

    #[tokio::test]
    async fn an_error_or_a_block_within_a_stream_is_told() {
        let error = r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#;
        assert_eq!(read(&[BEGUN, error, ENDED]).await.1.unwrap().kind, TroubleKind::Unavailable);
        let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4}}"#;
        assert_eq!(read(&[blocked]).await.1.unwrap().kind, TroubleKind::Filtered);
        let held = r#"{"candidates":[{"finishReason":"RECITATION"}]}"#;
        assert_eq!(read(&[held]).await.1.unwrap().kind, TroubleKind::Filtered);
        let (pieces, trouble) = read(&[BEGUN, held]).await;
        assert!(trouble.is_none() && matches!(pieces[1], Piece::End { finish: Finish::Filtered, .. }));
    }
}
