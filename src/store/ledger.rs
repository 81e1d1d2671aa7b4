//! The budget ledger's rules, over whatever shelf keeps its numbers. A reservation that nobody settles in time counts as
//! spent; settling it late puts that right, as long as it is remembered.

use super::{Balance, Reservation, Spend};
use crate::task::{At, CallId, Scope};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Bound;

/// How long after its expiry a reservation is remembered, in milliseconds: a day. Until then the same call id changes
/// nothing, and settling it late still replaces what had been counted as spent.
const REMEMBERED_MS: u64 = 24 * 3_600_000;

impl Spend {
    /// Both sums, as far as the numbers go.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micro_usd: self.micro_usd.saturating_add(other.micro_usd),
        }
    }

    /// Both differences, never below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            micro_usd: self.micro_usd.saturating_sub(other.micro_usd),
        }
    }
}

impl Balance {
    fn has_room_for(&self, upper: Spend) -> bool {
        let after = self.spent.plus(self.reserved).plus(upper);
        self.limit.is_none_or(|limit| after.tokens <= limit.tokens && after.micro_usd <= limit.micro_usd)
    }
}

/// One call's reservation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reserved {
    /// What it is charged to, each scope once.
    pub scopes: Vec<Scope>,
    /// The upper bound.
    pub upper: Spend,
    /// When it counts as spent.
    pub expires: At,
    /// How it stands.
    pub stand: Stand,
}

impl Reserved {
    /// When something must be done about it: at its expiry, and then when it is forgotten.
    pub(super) fn look_at(&self) -> At {
        match self.stand {
            Stand::Open => self.expires,
            Stand::Expired | Stand::Settled => self.expires.plus(REMEMBERED_MS),
        }
    }
}

/// How a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// It counts as set aside.
    Open,
    /// It counts as spent.
    Expired,
    /// What was spent has replaced it.
    Settled,
}

/// Where a ledger's numbers are kept.
pub(super) trait Shelf {
    /// Why they cannot be read or written.
    type Error;
    /// How a scope stands.
    fn balance(&self, scope: &Scope) -> Result<Balance, Self::Error>;
    /// Writes how a scope stands.
    fn set_balance(&mut self, scope: &Scope, balance: Balance) -> Result<(), Self::Error>;
    /// A call's reservation.
    fn call(&self, call: &CallId) -> Result<Option<Reserved>, Self::Error>;
    /// Writes a call's reservation, or forgets it.
    fn set_call(&mut self, call: &CallId, reserved: Option<Reserved>) -> Result<(), Self::Error>;
    /// The calls whose [`Reserved::look_at`] has come.
    fn due(&self, now: At) -> Result<Vec<CallId>, Self::Error>;
}

/// Sets or lifts a limit.
pub(super) fn set_budget<S: Shelf>(shelf: &mut S, scope: &Scope, limit: Option<Spend>) -> Result<(), S::Error> {
    let balance = shelf.balance(scope)?;
    shelf.set_balance(scope, Balance { limit, ..balance })
}

/// Sets an upper bound aside in every scope or in none.
pub(super) fn reserve<S: Shelf>(
    shelf: &mut S,
    call: &CallId,
    scopes: &[Scope],
    upper: Spend,
    (now, expires): (At, At),
) -> Result<Reservation, S::Error> {
    expire(shelf, now)?;
    if shelf.call(call)?.is_some() {
        return Ok(Reservation::Granted);
    }
    let mut balances: Vec<(&Scope, Balance)> = Vec::with_capacity(scopes.len());
    for scope in scopes {
        if balances.iter().any(|(other, _)| *other == scope) {
            continue;
        }
        let balance = shelf.balance(scope)?;
        if !balance.has_room_for(upper) {
            return Ok(Reservation::Exceeded(scope.clone()));
        }
        balances.push((scope, balance));
    }
    for (scope, balance) in &balances {
        shelf.set_balance(scope, Balance { reserved: balance.reserved.plus(upper), ..*balance })?;
    }
    let scopes = balances.into_iter().map(|(scope, _)| scope.clone()).collect();
    shelf.set_call(call, Some(Reserved { scopes, upper, expires, stand: Stand::Open }))?;
    Ok(Reservation::Granted)
}

/// Replaces a reservation, expired or not, by what was spent.
pub(super) fn settle<S: Shelf>(shelf: &mut S, call: &CallId, actual: Spend, now: At) -> Result<bool, S::Error> {
    expire(shelf, now)?;
    match shelf.call(call)? {
        Some(reserved) if reserved.stand != Stand::Settled => {
            replace(shelf, &reserved, actual)?;
            shelf.set_call(call, Some(Reserved { stand: Stand::Settled, ..reserved }))?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// How a scope stands now.
pub(super) fn balance<S: Shelf>(shelf: &mut S, scope: &Scope, now: At) -> Result<Balance, S::Error> {
    expire(shelf, now)?;
    shelf.balance(scope)
}

/// Takes a reservation out of where it counts and counts `actual` as spent.
fn replace<S: Shelf>(shelf: &mut S, reserved: &Reserved, actual: Spend) -> Result<(), S::Error> {
    for scope in &reserved.scopes {
        let mut balance = shelf.balance(scope)?;
        match reserved.stand {
            Stand::Open => balance.reserved = balance.reserved.minus(reserved.upper),
            Stand::Expired | Stand::Settled => balance.spent = balance.spent.minus(reserved.upper),
        }
        balance.spent = balance.spent.plus(actual);
        shelf.set_balance(scope, balance)?;
    }
    Ok(())
}

/// Counts as spent what expired, and forgets what is old.
fn expire<S: Shelf>(shelf: &mut S, now: At) -> Result<(), S::Error> {
    for call in shelf.due(now)? {
        let Some(mut reserved) = shelf.call(&call)? else { continue };
        if reserved.stand == Stand::Open {
            replace(shelf, &reserved, reserved.upper)?;
            reserved.stand = Stand::Expired;
        }
        let kept = (reserved.look_at() > now).then_some(reserved);
        shelf.set_call(&call, kept)?;
    }
    Ok(())
}

/// A ledger in memory.
#[derive(Debug, Default)]
pub(super) struct MemoryShelf {
    balances: BTreeMap<Scope, Balance>,
    calls: BTreeMap<CallId, Reserved>,
    due: BTreeSet<(At, CallId)>,
}

impl MemoryShelf {
    /// Budgets by scope, behind this one.
    pub fn budgets(&self, after: Option<&Scope>) -> impl Iterator<Item = (&Scope, &Balance)> {
        self.balances.range::<Scope, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    /// Reservations by call, behind this one.
    pub fn reservations(&self, after: Option<&CallId>) -> impl Iterator<Item = (&CallId, &Reserved)> {
        self.calls.range::<CallId, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    /// Forgets how a scope stands.
    pub fn forget(&mut self, scope: &Scope) {
        self.balances.remove(scope);
    }

    /// How a scope stands, if anything is known of it.
    pub fn known(&self, scope: &Scope) -> Option<Balance> {
        self.balances.get(scope).copied()
    }
}

impl Shelf for MemoryShelf {
    type Error = Infallible;

    fn balance(&self, scope: &Scope) -> Result<Balance, Infallible> {
        Ok(self.balances.get(scope).copied().unwrap_or_default())
    }

    fn set_balance(&mut self, scope: &Scope, balance: Balance) -> Result<(), Infallible> {
        self.balances.insert(scope.clone(), balance);
        Ok(())
    }

    fn call(&self, call: &CallId) -> Result<Option<Reserved>, Infallible> {
        Ok(self.calls.get(call).cloned())
    }

    fn set_call(&mut self, call: &CallId, reserved: Option<Reserved>) -> Result<(), Infallible> {
        if let Some(before) = self.calls.remove(call) {
            self.due.remove(&(before.look_at(), call.clone()));
        }
        if let Some(reserved) = reserved {
            self.due.insert((reserved.look_at(), call.clone()));
            self.calls.insert(call.clone(), reserved);
        }
        Ok(())
    }

    fn due(&self, now: At) -> Result<Vec<CallId>, Infallible> {
        Ok(self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, call)| call.clone()).collect())
    }
}
