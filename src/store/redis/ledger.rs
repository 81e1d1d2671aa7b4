//! The budget ledger, whose rules the server carries out. Amounts travel as decimal text: its numbers are floating-point.

use super::link::Again;
use super::reply::Reply;
use super::{RedisStore, script};
use crate::store::ledger::{Reserved, Stand};
use crate::store::{Balance, Reservation, Spend, StoreError};
use crate::task::{CallId, Scope};

impl RedisStore {
    pub(super) async fn reserve_now(
        &self,
        call: CallId,
        scopes: Vec<Scope>,
        upper: Spend,
        expires_ms: u64,
    ) -> Result<Reservation, StoreError> {
        let reserve = self.call(&script::RESERVE).arg(call.as_str()).arg(upper.tokens).arg(upper.micro_usd);
        let reserve = reserve.arg(expires_ms).each(scopes.iter(), |call, scope| call.arg(scope.as_str()));
        let exceeded = self.run(reserve, Again::Yes).await?.text()?;
        if exceeded.is_empty() {
            return Ok(Reservation::Granted);
        }
        Ok(Reservation::Exceeded(Scope::trusted(exceeded)))
    }

    pub(super) async fn settle_now(&self, call: CallId, actual: Spend) -> Result<bool, StoreError> {
        let settle = self.call(&script::SETTLE).arg(call.as_str()).arg(actual.tokens).arg(actual.micro_usd);
        // Asked again, it would say that there was nothing to replace.
        Ok(self.run(settle, Again::No).await?.number::<u8>()? == 1)
    }

    pub(super) async fn balance_now(&self, scope: Scope) -> Result<Balance, StoreError> {
        read_balance(&mut self.run(self.call(&script::BALANCE).arg(scope.as_str()), Again::Yes).await?)
    }
}

/// A limit's two amounts; empty when there is none.
pub(super) fn limit_text(limit: Option<Spend>) -> [String; 2] {
    limit.map(|limit| [limit.tokens.to_string(), limit.micro_usd.to_string()]).unwrap_or_default()
}

/// How a scope stands: the limit, what is spent and what is reserved.
pub(super) fn read_balance(row: &mut Reply) -> Result<Balance, StoreError> {
    let (tokens, money) = (row.text()?, row.text()?);
    let limit = match (tokens.parse(), money.parse()) {
        (Ok(tokens), Ok(micro_usd)) => Some(Spend { tokens, micro_usd }),
        _ => None,
    };
    Ok(Balance { limit, spent: read_spend(row)?, reserved: read_spend(row)? })
}

fn read_spend(row: &mut Reply) -> Result<Spend, StoreError> {
    Ok(Spend { tokens: row.number()?, micro_usd: row.number()? })
}

/// A call's reservation, as `ledger.lua` keeps it.
pub(super) fn read_reserved(row: &mut Reply) -> Result<Reserved, StoreError> {
    let scopes = row.text()?.split('\n').filter(|scope| !scope.is_empty()).map(Scope::trusted).collect();
    let upper = read_spend(row)?;
    let expires = row.moment()?;
    let stand = match row.text()?.as_str() {
        "open" => Stand::Open,
        "expired" => Stand::Expired,
        "settled" => Stand::Settled,
        other => return Err(StoreError::Corrupt(format!("a reservation stands {other:?}").into())),
    };
    Ok(Reserved { scopes, upper, expires, stand })
}

pub(super) fn stand_text(stand: Stand) -> &'static str {
    match stand {
        Stand::Open => "open",
        Stand::Expired => "expired",
        Stand::Settled => "settled",
    }
}

/// A reservation's scopes in one text.
pub(super) fn scopes_text(reserved: &Reserved) -> String {
    reserved.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join("\n")
}
