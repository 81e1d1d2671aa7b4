//! Who is asked when, over places that fail as they are told.

use super::*;
use crate::llm::Pieces;
use crate::messages::{Answer, Completion, Embedded, Embedding};
use std::sync::Mutex;

/// Somebody who is never really asked: `ask` answers in its place.
struct Named(&'static str);

impl Provider for Named {
    fn name(&self) -> &'static str {
        self.0
    }

    fn complete<'a>(&'a self, _: &'a Completion) -> BoxFuture<'a, Result<Answer, Trouble>> {
        Box::pin(async { Err(nobody()) })
    }

    fn stream<'a>(&'a self, _: &'a Completion) -> BoxFuture<'a, Result<Pieces, Trouble>> {
        Box::pin(async { Err(nobody()) })
    }

    fn embed<'a>(&'a self, _: &'a Embedding) -> BoxFuture<'a, Result<Embedded, Trouble>> {
        Box::pin(async { Err(nobody()) })
    }
}

fn route(tiers: &[&[(&'static str, u32)]]) -> Route {
    let place =
        |(name, weight): &(&'static str, u32)| Place::new(Arc::new(Named(name)), *weight, RetryPolicy::default());
    let tiers = tiers.iter().map(|tier| tier.iter().map(place).collect()).collect();
    Route { tiers, also_refused: false }
}

/// Serves one call where these places answer like this; gives who answered, or with which kind it failed, and who was asked.
async fn serve(
    route: &Route,
    seconds: u64,
    answers: impl Fn(&str, usize) -> Result<(), Trouble> + Sync,
) -> (Result<String, TroubleKind>, Vec<String>) {
    let asked = Mutex::new(Vec::new());
    let until = Instant::now() + Duration::from_secs(seconds);
    let served = route
        .serve(until, usize::MAX, |place, _| {
            let name = place.provider.name().to_owned();
            let nth = {
                let mut asked = asked.lock().unwrap();
                asked.push(name.clone());
                asked.iter().filter(|other| **other == name).count()
            };
            let answer = answers(&name, nth).map(|()| name);
            Box::pin(std::future::ready(answer))
        })
        .await;
    (served.outcome.map_err(|trouble| trouble.kind), asked.into_inner().unwrap())
}

fn no(kind: TroubleKind) -> Result<(), Trouble> {
    Err(Trouble::new(kind, "no"))
}

#[tokio::test(start_paused = true)]
async fn the_next_is_asked_where_the_table_says_so_and_nobody_else() {
    for kind in TroubleKind::ALL {
        let route = route(&[&[("one", 1)], &[("two", 1)]]);
        let (outcome, asked) = serve(&route, 600, |name, _| if name == "one" { no(kind) } else { Ok(()) }).await;
        let expected = if kind.falls_back(false) { Ok("two".to_owned()) } else { Err(kind) };
        assert_eq!(outcome, expected, "{kind:?}: {asked:?}");
    }
    let route = Route { also_refused: true, ..route(&[&[("one", 1)], &[("two", 1)]]) };
    let (outcome, _) =
        serve(&route, 600, |name, _| if name == "one" { no(TroubleKind::Filtered) } else { Ok(()) }).await;
    assert_eq!(outcome, Ok("two".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn another_key_is_asked_at_once_where_one_is_throttled() {
    let route = route(&[&[("one", 1), ("two", 1)]]);
    let began = Instant::now();
    for _ in 0..20 {
        let (outcome, _) =
            serve(&route, 600, |name, _| if name == "one" { no(TroubleKind::Throttled) } else { Ok(()) }).await;
        assert_eq!(outcome, Ok("two".to_owned()));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_only_one_is_waited_for_as_long_as_it_asks_and_the_caller_has_time() {
    let busy = |_: &str, nth| {
        let wait = Some(Duration::from_secs(26));
        if nth == 1 { Err(Trouble::new(TroubleKind::Throttled, "no").after(wait)) } else { Ok(()) }
    };
    let began = Instant::now();
    let (outcome, asked) = serve(&route(&[&[("one", 1)]]), 600, busy).await;
    assert_eq!((outcome, asked.len(), began.elapsed().as_secs()), (Ok("one".to_owned()), 2, 26));
    let began = Instant::now();
    let (outcome, _) = serve(&route(&[&[("one", 1)]]), 20, busy).await;
    assert_eq!((outcome, began.elapsed()), (Err(TroubleKind::Throttled), Duration::ZERO), "it cannot be had in time");
}

#[tokio::test(start_paused = true)]
async fn one_that_asks_for_no_time_is_asked_again_but_not_for_ever() {
    let none = || Err(Trouble::new(TroubleKind::Throttled, "no").after(Some(Duration::ZERO)));
    let (outcome, asked) = serve(&route(&[&[("one", 1)]]), 600, |_, nth| if nth < 3 { none() } else { Ok(()) }).await;
    assert_eq!((outcome, asked.len()), (Ok("one".to_owned()), 3));
    let (outcome, asked) = serve(&route(&[&[("one", 1)]]), 600, |_, _| none()).await;
    assert_eq!((outcome, asked.len()), (Err(TroubleKind::Throttled), ROUNDS as usize));
}

#[tokio::test(start_paused = true)]
async fn a_quota_for_the_day_is_not_waited_for() {
    let route = route(&[&[("one", 1)]]);
    let began = Instant::now();
    let (outcome, asked) = serve(&route, 100_000, |_, _| no(TroubleKind::Exhausted)).await;
    assert_eq!((outcome, asked.len()), (Err(TroubleKind::Exhausted), 1));
    // And not asked again by the next call either, which is told the same.
    let (outcome, asked) = serve(&route, 100_000, |_, _| Ok(())).await;
    assert_eq!((outcome, asked.len(), began.elapsed()), (Err(TroubleKind::Exhausted), 0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn who_fails_again_and_again_is_left_alone_and_then_tried() {
    let route = route(&[&[("one", 1)], &[("two", 1)]]);
    let broken = |name: &str, _| if name == "one" { no(TroubleKind::Unavailable) } else { Ok(()) };
    for _ in 0..5 {
        let (outcome, _) = serve(&route, 600, broken).await;
        assert_eq!(outcome, Ok("two".to_owned()));
    }
    let (_, asked) = serve(&route, 600, broken).await;
    assert_eq!(asked, ["two"]);
    tokio::time::advance(Duration::from_secs(6)).await;
    let (outcome, _) = serve(&route, 600, |_, _| Ok(())).await;
    assert_eq!(outcome, Ok("one".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn one_of_this_process_is_never_left_alone() {
    let route = Route { tiers: vec![vec![Place::here(Arc::new(Named("here")))]], also_refused: false };
    for _ in 0..20 {
        let (outcome, asked) = serve(&route, 600, |_, _| no(TroubleKind::Unavailable)).await;
        assert_eq!((outcome, asked.len()), (Err(TroubleKind::Unavailable), 1));
    }
    assert_eq!(serve(&route, 600, |_, _| Ok(())).await.0, Ok("here".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn each_is_first_as_often_as_its_weight_says() {
    fastrand::seed(1);
    let route = route(&[&[("one", 1), ("three", 3)]]);
    let mut ones = 0;
    for _ in 0..2_000 {
        let (outcome, _) = serve(&route, 600, |_, _| Ok(())).await;
        ones += u32::from(outcome == Ok("one".to_owned()));
    }
    assert!((400..600).contains(&ones), "{ones} of 2000");
}
