//! What the server answers, taken apart in order. An answer of another form than was asked for means that another program
//! has written what it is made of.

use crate::store::StoreError;
use crate::task::{At, Json};
use deadpool_redis::redis::Value;
use std::str::FromStr;

/// The parts of an answer that are still to be read.
pub(super) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    /// A list's parts.
    pub fn of(value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(parts) | Value::Set(parts) => Ok(Self(parts.into_iter())),
            Value::Map(pairs) => {
                let parts: Vec<_> = pairs.into_iter().flat_map(|(key, value)| [key, value]).collect();
                Ok(Self(parts.into_iter()))
            }
            Value::Nil => Ok(Self(Vec::new().into_iter())),
            other => Err(strange(&other)),
        }
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Whether the next part is something.
    pub fn is_there(&self) -> bool {
        self.0.as_slice().first().is_some_and(|value| *value != Value::Nil)
    }

    /// The next part, which may be absent or empty.
    pub fn maybe(&mut self) -> Result<Option<String>, StoreError> {
        match self.0.next() {
            None | Some(Value::Nil | Value::Boolean(false)) => Ok(None),
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes).map(Some).map_err(|_| unlike("text")),
            Some(Value::SimpleString(text)) => Ok(Some(text)),
            Some(Value::Int(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(strange(&other)),
        }
    }

    /// The next part, which is there.
    pub fn text(&mut self) -> Result<String, StoreError> {
        self.maybe()?.ok_or_else(|| unlike("something"))
    }

    /// The next part as a number.
    pub fn number<T: FromStr>(&mut self) -> Result<T, StoreError> {
        self.text()?.parse().map_err(|_| unlike("a number"))
    }

    /// The next part as a moment.
    pub fn moment(&mut self) -> Result<At, StoreError> {
        self.number().map(At)
    }

    /// The next part as stored JSON.
    pub fn json(&mut self) -> Result<Json, StoreError> {
        json(self.text()?)
    }

    /// The next part as a list.
    pub fn list(&mut self) -> Result<Self, StoreError> {
        self.0.next().map_or_else(|| Err(unlike("a list")), Self::of)
    }
}

/// A stored value.
pub(super) fn json(text: String) -> Result<Json, StoreError> {
    let damaged = |error| StoreError::Corrupt(format!("a stored value is not JSON ({error})").into());
    Json::from_text(text).map_err(damaged)
}

fn strange(value: &Value) -> StoreError {
    let kind = match value {
        Value::ServerError(_) => "an error",
        Value::Array(_) => "a list",
        Value::Int(_) => "a number",
        _ => "something else",
    };
    StoreError::Corrupt(format!("the server answered {kind} where that cannot be").into())
}

fn unlike(what: &str) -> StoreError {
    StoreError::Corrupt(format!("the server's answer is not {what} where that was asked for").into())
}
