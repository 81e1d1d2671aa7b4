//! The budget ledger's numbers in the database. The rules are the ledger's own; here they are only read and written.

use super::error::Fault;
use super::schema::{bits, sized, unbits};
use super::writer::Desk;
use crate::store::ledger::{Reserved, Shelf, Stand};
use crate::store::{Balance, Spend, StoreError};
use crate::task::{At, CallId, Scope};
use rusqlite::{OptionalExtension, Row};
use std::sync::Arc;

/// The stands by number.
const STANDS: [Stand; 3] = [Stand::Open, Stand::Expired, Stand::Settled];

impl Shelf for Desk<'_> {
    type Error = Fault;

    fn balance(&self, scope: &Scope) -> Result<Balance, Fault> {
        let mut statement = self.statement(
            "SELECT limit_tokens, limit_micro_usd, spent_tokens, spent_micro_usd, reserved_tokens, reserved_micro_usd
             FROM budgets WHERE scope = ?1",
        )?;
        Ok(statement.query_row([scope.as_str()], read_balance).optional()?.unwrap_or_default())
    }

    fn set_balance(&mut self, scope: &Scope, balance: Balance) -> Result<(), Fault> {
        let Balance { limit, spent, reserved } = balance;
        let row = (
            scope.as_str(),
            limit.map(|limit| bits(limit.tokens)),
            limit.map(|limit| bits(limit.micro_usd)),
            bits(spent.tokens),
            bits(spent.micro_usd),
            bits(reserved.tokens),
            bits(reserved.micro_usd),
        );
        self.run("INSERT OR REPLACE INTO budgets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row)?;
        Ok(())
    }

    fn call(&self, call: &CallId) -> Result<Option<Reserved>, Fault> {
        let mut statement =
            self.statement("SELECT scopes, tokens, micro_usd, expires, stand FROM reservations WHERE call = ?1")?;
        let mut rows = statement.query([call.as_str()])?;
        rows.next()?.map(|row| read_reserved(call, row)).transpose()
    }

    fn set_call(&mut self, call: &CallId, reserved: Option<Reserved>) -> Result<(), Fault> {
        let Some(reserved) = reserved else {
            self.run("DELETE FROM reservations WHERE call = ?1", [call.as_str()])?;
            return Ok(());
        };
        let Ok(scopes) = serde_json::to_string(&reserved.scopes) else {
            return Err(StoreError::Corrupt("budget scopes have no stored form".into()).into());
        };
        let row = (
            call.as_str(),
            bits(reserved.upper.tokens),
            bits(reserved.upper.micro_usd),
            bits(reserved.expires.0),
            sized(reserved.look_at().0),
            reserved.stand as i64,
            scopes,
        );
        self.run("INSERT OR REPLACE INTO reservations VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row)?;
        Ok(())
    }

    fn due(&self, now: At) -> Result<Vec<CallId>, Fault> {
        let mut statement = self.statement("SELECT call FROM reservations WHERE look_at <= ?1 ORDER BY look_at")?;
        let rows = statement.query_map([sized(now.0)], |row| row.get::<_, Arc<str>>(0))?;
        Ok(rows.map(|call| call.map(CallId::trusted)).collect::<rusqlite::Result<_>>()?)
    }
}

/// A balance from a row that begins with limit, spent and reserved, in tokens and money each.
pub(super) fn read_balance(row: &Row<'_>) -> rusqlite::Result<Balance> {
    let limit = row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?);
    Ok(Balance {
        limit: limit.map(|(tokens, micro_usd)| spend(tokens, micro_usd)),
        spent: spend(row.get(2)?, row.get(3)?),
        reserved: spend(row.get(4)?, row.get(5)?),
    })
}

/// A reservation from a row that begins with its scopes, tokens, money, expiry and stand.
pub(super) fn read_reserved(call: &CallId, row: &Row<'_>) -> Result<Reserved, Fault> {
    let (upper, expires) = (spend(row.get(1)?, row.get(2)?), At(unbits(row.get(3)?)));
    let stand = usize::try_from(row.get::<_, i64>(4)?).ok().and_then(|number| STANDS.get(number)).copied();
    let (Some(stand), Ok(scopes)) = (stand, serde_json::from_str(&row.get::<_, String>(0)?)) else {
        return Err(StoreError::Corrupt(format!("the reservation of call {call} cannot be read").into()).into());
    };
    Ok(Reserved { scopes, upper, expires, stand })
}

fn spend(tokens: i64, micro_usd: i64) -> Spend {
    Spend { tokens: unbits(tokens), micro_usd: unbits(micro_usd) }
}
