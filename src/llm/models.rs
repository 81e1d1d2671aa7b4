//! All that a call passes, in one order: admission, then the route with its breakers, then trying again, then the provider.
//! Providers that answer from this process are asked as they are: they have no network to fail.

use super::admission::{Admission, Seat};
use super::retry::no_time_left;
use super::route::{Place, Route, Served};
use super::trouble::{Trouble, TroubleKind};
use super::{Condition, Pieces, Provider};
use crate::messages::{Answer, Completion, Embedded, Embedding, Piece, PlaceState, ProviderState};
use futures_util::StreamExt as _;
use futures_util::stream;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// The providers by name, each with all that stands before it.
pub struct Models {
    lines: BTreeMap<Arc<str>, Line>,
    default: Arc<str>,
}

/// As many tiers as a route has.
const ALL: usize = usize::MAX;

/// The way to one provider and to those that answer in its place.
pub struct Line {
    route: Route,
    admission: Option<Admission>,
}

impl Line {
    /// A provider of this process.
    pub fn here(provider: Arc<dyn Provider>) -> Self {
        let tiers = vec![vec![Place::here(provider)]];
        Self { route: Route { tiers, also_refused: false }, admission: None }
    }

    /// Providers elsewhere, with so many calls at once and so many more that wait.
    pub fn elsewhere(route: Route, concurrency: usize, queue: usize) -> Self {
        Self { route, admission: Some(Admission::new(concurrency, queue)) }
    }

    async fn seat(&self, until: Instant) -> Result<Option<Seat>, Trouble> {
        match &self.admission {
            Some(admission) => admission.enter(until).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Models {
    /// These, of which one answers calls that name none.
    pub fn new(lines: BTreeMap<Arc<str>, Line>, default: Arc<str>) -> Self {
        Self { lines, default }
    }

    fn line(&self, name: Option<&str>) -> Result<&Line, Trouble> {
        let name = name.unwrap_or(&self.default);
        self.lines.get(name).ok_or_else(|| {
            let known: Vec<_> = self.lines.keys().map(AsRef::as_ref).collect();
            let words = format!("there is no provider {name:?} here: use {}, or set it up", known.join(" or "));
            Trouble::new(TroubleKind::Invalid, words)
        })
    }

    /// One answer.
    ///
    /// # Errors
    /// [`Trouble`], of whoever was asked last.
    pub async fn complete(
        &self,
        completion: &Completion,
        provider: Option<&str>,
        until: Instant,
    ) -> Result<Answer, Trouble> {
        let line = self.line(provider)?;
        let _seat = line.seat(until).await?;
        let served = line.route.serve(until, ALL, |place, is_first| {
            let completion = for_place(completion, is_first);
            Box::pin(async move { place.provider.complete(&completion).await })
        });
        told(served.await)
    }

    /// An answer as it comes. Another place may answer until the first word is there, and never after it.
    ///
    /// # Errors
    /// [`Trouble`] before the first word; what goes wrong later is the stream's last item ([`TroubleKind::Broken`]).
    pub async fn stream(
        self: Arc<Self>,
        completion: &Completion,
        provider: Option<&str>,
        until: Instant,
    ) -> Result<Pieces, Trouble> {
        let line = self.line(provider)?;
        let seat = line.seat(until).await?;
        let served = line.route.serve(until, ALL, |place, is_first| {
            let completion = for_place(completion, is_first);
            Box::pin(async move {
                let pieces = place.provider.stream(&completion).await?;
                Ok((opened(pieces).await?, place.breaker.clone()))
            })
        });
        let ((first, rest), breaker) = told(served.await)?;
        let rest = stream::unfold(Some((rest, seat)), move |state| {
            let breaker = breaker.clone();
            async move {
                // The seat is held for as long as the stream.
                let (mut rest, seat) = state?;
                let trouble = match timeout_at(until, rest.next()).await {
                    Ok(None) => return None,
                    Ok(Some(Ok(piece))) => return Some((Ok(piece), Some((rest, seat)))),
                    Ok(Some(Err(trouble))) => Trouble { kind: TroubleKind::Broken, ..trouble },
                    Err(_) => return Some((Err(Trouble { kind: TroubleKind::Broken, ..no_time_left() }), None)),
                };
                if let Some(breaker) = breaker {
                    breaker.failed(&trouble, Instant::now());
                }
                Some((Err(trouble), None))
            }
        });
        Ok(stream::iter(first.into_iter().map(Ok)).chain(rest).boxed())
    }

    /// Vectors for texts.
    ///
    /// # Errors
    /// [`Trouble`], of whoever was asked last.
    pub async fn embed(
        &self,
        embedding: &Embedding,
        provider: Option<&str>,
        until: Instant,
    ) -> Result<Embedded, Trouble> {
        let line = self.line(provider)?;
        let _seat = line.seat(until).await?;
        // Vectors of two models mean nothing to each other: nobody else answers.
        let served = line.route.serve(until, 1, |place, _| place.provider.embed(embedding));
        told(served.await)
    }

    /// The providers' names; the one first that answers where none is named.
    pub fn names(&self) -> Vec<Arc<str>> {
        let others = self.lines.keys().filter(|name| **name != self.default).cloned();
        self.lines.get_key_value(&self.default).map(|(name, _)| name.clone()).into_iter().chain(others).collect()
    }

    /// How all of them do.
    pub fn states(&self) -> Vec<ProviderState> {
        let place = |place: &Place| {
            let Condition { is_open_for_calls, rests_for, why } = place.condition();
            PlaceState {
                provider: place.provider.name().into(),
                available: is_open_for_calls,
                rests_ms: rests_for.map(|rest| u64::try_from(rest.as_millis()).unwrap_or(u64::MAX)),
                last_failure: why,
            }
        };
        let state = |(name, line): (&Arc<str>, &Line)| ProviderState {
            name: name.clone(),
            places: line.route.places().map(place).collect(),
        };
        self.lines.iter().map(state).collect()
    }
}

/// A model's name means something to the provider only that was asked for it.
fn for_place(completion: &Completion, is_first: bool) -> Cow<'_, Completion> {
    if is_first || completion.model.is_none() {
        Cow::Borrowed(completion)
    } else {
        Cow::Owned(Completion { model: None, ..completion.clone() })
    }
}

/// Waits for the first word; gives what came until then, and the rest.
async fn opened(mut pieces: Pieces) -> Result<(Vec<Piece>, Pieces), Trouble> {
    let mut first = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        let is_enough = piece.is_content() || matches!(piece, Piece::End { .. });
        first.push(piece);
        if is_enough {
            return Ok((first, pieces));
        }
    }
    Err(Trouble::new(TroubleKind::Unavailable, "the provider's stream ended before it began"))
}

fn told<T>(served: Served<T>) -> Result<T, Trouble> {
    let Served { outcome, retries, fallbacks } = served;
    if retries + fallbacks > 0 {
        tracing::debug!(retries, fallbacks, is_answered = outcome.is_ok(), "a model call took more than one try");
    }
    outcome
}
