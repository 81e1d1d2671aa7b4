//! The budget ledger.

use crate::subject::Subject;
use callboard::store::{Balance, Reservation, Spend, Store};
use callboard::task::{CallId, Scope};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;

fn scope(name: &str) -> Scope {
    Scope::trusted(name.to_owned())
}

fn call(name: impl Into<String>) -> CallId {
    CallId::trusted(name.into())
}

fn spend(tokens: u64, micro_usd: u64) -> Spend {
    Spend { tokens, micro_usd }
}

async fn stands(store: &dyn Store, name: &str) -> (Spend, Spend) {
    let Balance { spent, reserved, .. } = store.balance(&scope(name)).await.unwrap();
    (spent, reserved)
}

pub async fn a_reservation_is_all_or_nothing(Subject { store, .. }: Subject) {
    let scopes = [scope("wide"), scope("narrow"), scope("wide")];
    store.set_budget(&scope("wide"), Some(spend(1000, 1000))).await.unwrap();
    store.set_budget(&scope("narrow"), Some(spend(100, 50))).await.unwrap();
    assert_eq!(store.reserve(&call("c1"), &scopes, spend(60, 50), 1000).await, Ok(Reservation::Granted));
    assert_eq!(stands(&*store, "wide").await, (spend(0, 0), spend(60, 50)));
    let exceeded = Ok(Reservation::Exceeded(scope("narrow")));
    assert_eq!(store.reserve(&call("c2"), &scopes, spend(1, 1), 1000).await, exceeded);
    assert_eq!(store.reserve(&call("c3"), &scopes, spend(41, 0), 1000).await, exceeded);
    assert_eq!(stands(&*store, "wide").await, (spend(0, 0), spend(60, 50)));
    assert_eq!(store.reserve(&call("c4"), &scopes, spend(40, 0), 1000).await, Ok(Reservation::Granted));
    assert_eq!(store.settle(&call("c1"), spend(10, 5)).await, Ok(true));
    assert_eq!(stands(&*store, "narrow").await, (spend(10, 5), spend(40, 0)));
    // Lifted: what was counted stays counted.
    store.set_budget(&scope("narrow"), None).await.unwrap();
    assert_eq!(store.reserve(&call("c5"), &scopes, spend(500, 500), 1000).await, Ok(Reservation::Granted));
    let narrow = store.balance(&scope("narrow")).await.unwrap();
    assert_eq!(narrow, Balance { limit: None, spent: spend(10, 5), reserved: spend(540, 500) });
    assert_eq!(store.balance(&scope("other")).await, Ok(Balance::default()));
}

pub async fn the_same_call_twice_is_once(Subject { store, .. }: Subject) {
    for _ in 0..2 {
        let granted = store.reserve(&call("c1"), &[scope("s")], spend(60, 0), 1000).await;
        assert_eq!(granted, Ok(Reservation::Granted));
        assert_eq!(stands(&*store, "s").await, (spend(0, 0), spend(60, 0)));
    }
    assert_eq!(store.settle(&call("c1"), spend(50, 0)).await, Ok(true));
    assert_eq!(store.settle(&call("c1"), spend(50, 0)).await, Ok(false));
    assert_eq!(store.settle(&call("c2"), spend(50, 0)).await, Ok(false));
    assert_eq!(store.reserve(&call("c1"), &[scope("s")], spend(60, 0), 1000).await, Ok(Reservation::Granted));
    assert_eq!(stands(&*store, "s").await, (spend(50, 0), spend(0, 0)));
}

pub async fn an_unsettled_reservation_is_spent(Subject { store, clock, .. }: Subject) {
    store.set_budget(&scope("s"), Some(spend(100, 0))).await.unwrap();
    store.reserve(&call("c1"), &[scope("s")], spend(60, 0), 1000).await.unwrap();
    clock.advance(999);
    assert_eq!(stands(&*store, "s").await, (spend(0, 0), spend(60, 0)));
    clock.advance(1);
    assert_eq!(stands(&*store, "s").await, (spend(60, 0), spend(0, 0)));
    let more = store.reserve(&call("c2"), &[scope("s")], spend(41, 0), 1000).await;
    assert_eq!(more, Ok(Reservation::Exceeded(scope("s"))));
}

pub async fn a_late_settlement_corrects(Subject { store, clock, .. }: Subject) {
    store.reserve(&call("c1"), &[scope("s")], spend(60, 9), 1000).await.unwrap();
    store.reserve(&call("c2"), &[scope("s")], spend(60, 9), 1000).await.unwrap();
    clock.advance(5000);
    assert_eq!(store.settle(&call("c1"), spend(10, 2)).await, Ok(true));
    assert_eq!(stands(&*store, "s").await, (spend(70, 11), spend(0, 0)));
    // What nobody settled within a day is forgotten as a call, and stays spent.
    clock.advance(2 * 24 * 3_600_000);
    assert_eq!(store.settle(&call("c2"), spend(1, 1)).await, Ok(false));
    assert_eq!(stands(&*store, "s").await, (spend(70, 11), spend(0, 0)));
}

pub async fn large_numbers_come_back(Subject { store, .. }: Subject) {
    let most = spend(u64::MAX, u64::MAX - 1);
    store.set_budget(&scope("s"), Some(most)).await.unwrap();
    assert_eq!(store.reserve(&call("c1"), &[scope("s")], most, u64::MAX).await, Ok(Reservation::Granted));
    let balance = store.balance(&scope("s")).await.unwrap();
    assert_eq!((balance.limit, balance.reserved), (Some(most), most));
}

#[derive(Debug, Clone)]
enum Act {
    Reserve { call: u8, scopes: u8, upper: u64, expires: u64 },
    Settle { call: u8, share: u64 },
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..30u8, 1..8u8, 0..60u64, 0..200u64)
            .prop_map(|(call, scopes, upper, expires)| Act::Reserve { call, scopes, upper, expires }),
        2 => (0..30u8, 0..=100u64).prop_map(|(call, share)| Act::Settle { call, share }),
        1 => (0..150u64).prop_map(Act::Wait),
    ]
}

pub async fn no_limit_is_ever_passed(Subject { store, clock, .. }: Subject) {
    let store: Arc<dyn Store> = store;
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let schedules: Vec<_> =
        (0..12).map(|_| proptest::collection::vec(act(), 40).new_tree(&mut runner).unwrap().current()).collect();
    for (round, schedule) in schedules.into_iter().enumerate() {
        let scopes: Vec<_> = (0..3).map(|n| scope(&format!("r{round}-s{n}"))).collect();
        for scope in &scopes {
            store.set_budget(scope, Some(spend(100, 300))).await.unwrap();
        }
        let mut uppers = std::collections::HashMap::new();
        for act in schedule {
            match act {
                Act::Reserve { call: n, scopes: chosen, upper, expires } => {
                    let chosen = scopes.iter().enumerate().filter(|(bit, _)| chosen & (1 << bit) != 0);
                    let chosen: Vec<_> = chosen.map(|(_, scope)| scope.clone()).collect();
                    let upper = spend(upper, upper * 3);
                    let answer = store.reserve(&call(format!("r{round}-{n}")), &chosen, upper, expires).await.unwrap();
                    if answer == Reservation::Granted {
                        uppers.entry(n).or_insert(upper);
                    }
                }
                Act::Settle { call: n, share } => {
                    let upper = uppers.get(&n).copied().unwrap_or_default();
                    let actual = spend(upper.tokens * share / 100, upper.micro_usd * share / 100);
                    store.settle(&call(format!("r{round}-{n}")), actual).await.unwrap();
                }
                Act::Wait(ms) => clock.advance(ms),
            }
            for scope in &scopes {
                let Balance { spent, reserved, .. } = store.balance(scope).await.unwrap();
                assert!(spent.tokens + reserved.tokens <= 100, "{scope}: {spent:?} {reserved:?}");
                assert!(spent.micro_usd + reserved.micro_usd <= 300, "{scope}: {spent:?} {reserved:?}");
            }
        }
    }
}
