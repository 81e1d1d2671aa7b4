//! What a Redis server or the way to it says, in words that tell what happened, why, and what to do next. What passes by
//! itself is told apart from what somebody has to set right.

use crate::store::StoreError;
use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind};
use std::time::Duration;

/// Puts an error into words; the address has no secret in it.
pub(super) fn explain(address: &str, error: &RedisError) -> StoreError {
    let text = error.to_string();
    match error.code() {
        Some(code) => said(address, code, error.detail().unwrap_or(&text)),
        None => befell(address, error, &text),
    }
}

/// What the server answered.
fn said(address: &str, code: &str, detail: &str) -> StoreError {
    let unavailable = |words: &str| StoreError::Unavailable(format!("{address} {words}").into());
    let refused = |words: &str| StoreError::Refused(format!("{address} {words}").into());
    // What a script may not do is told as an error of the script.
    let code = if detail.contains("user executing the script") { "NOPERM" } else { code };
    match code {
        "NOAUTH" => refused("wants a password: set CALLBOARD_REDIS_PASSWORD or redis_password"),
        "WRONGPASS" => refused(WRONG_PASSWORD),
        "NOPERM" => refused(&no_right(detail)),
        "LOADING" => unavailable("is still reading its data; it is used as soon as it has"),
        "READONLY" => unavailable(
            "is a replica and takes no writes: a fail-over may be under way; if not, name the primary in --store",
        ),
        "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" => {
            unavailable(&format!("cannot answer until its primary is there again ({code})"))
        }
        "OOM" => unavailable(
            "has no memory left and takes no writes: raise its maxmemory, or let finished tasks go (retain_for, callboard gc)",
        ),
        "BUSY" => unavailable("is busy with a script of somebody's; SCRIPT KILL ends it"),
        "MISCONF" => unavailable("cannot save to its disk and takes no writes: free some space there, and see its log"),
        "NOREPLICAS" => unavailable("has too few replicas to take writes (min-replicas-to-write): start them again"),
        "UNKILLABLE" | "NOSCRIPT" => unavailable(&format!("could not run a script just now ({code} {detail})")),
        "WRONGTYPE" => {
            StoreError::Corrupt(format!("{address}: another program uses this prefix's keys ({detail})").into())
        }
        "ERR" if detail.contains("DB index") || detail.contains("switch database") => {
            refused(&format!("has no such database ({detail}): name another at the URL's end"))
        }
        "ERR" if detail.contains("max number of clients") => {
            unavailable("has as many clients as it may: see maxclients")
        }
        "ERR" if detail.contains("script") => {
            StoreError::Corrupt(format!("{address} could not carry out a script ({detail})").into())
        }
        _ => unavailable(&format!("answers: {code} {detail}")),
    }
}

fn no_right(detail: &str) -> String {
    format!(
        "says that this user may not do what is needed ({detail}): give it the rights that docs/operations.md lists (ACL \
         SETUSER)"
    )
}

/// To a server that was spoken to in TLS and knows none.
pub(super) fn speaks_plainly(address: &str) -> StoreError {
    StoreError::Refused(format!("{address} {NO_TLS}").into())
}

const NO_TLS: &str = "does not speak TLS at this port: use redis:// instead of rediss://, or its TLS port";

const WRONG_PASSWORD: &str = "does not let this user in with this password: set CALLBOARD_REDIS_PASSWORD or \
                              redis_password, and the user's name in the URL";

/// What happened on the way there.
fn befell(address: &str, error: &RedisError, text: &str) -> StoreError {
    let unavailable = |words: String| StoreError::Unavailable(format!("{address} {words}").into());
    let refused = |words: &str| StoreError::Refused(format!("{address} {words}").into());
    let lower = text.to_lowercase();
    if error.kind() == ErrorKind::AuthenticationFailed {
        return refused(WRONG_PASSWORD);
    }
    if lower.contains("certificate") {
        return if lower.contains("expired") {
            refused("shows a certificate that has expired: renew it on the server")
        } else if lower.contains("mismatch") {
            refused("shows a certificate that was made for another host: name the server as its certificate does")
        } else {
            refused(&format!(
                "shows a certificate by an authority that is not trusted: name the authority's file in redis_ca ({text})"
            ))
        };
    }
    if lower.contains("wrong version number") || lower.contains("packet length") || lower.contains("record layer") {
        return refused(NO_TLS);
    }
    if lower.contains("switch database") || lower.contains("db index") {
        return refused("has no such database: name another at the URL's end");
    }
    if error.is_timeout() || lower.contains("timed out") {
        return unavailable(format!("does not answer in time: {}", why_slow(address)));
    }
    if error.is_connection_refusal() {
        return unavailable("refuses connections: start Redis there, or name another server with --store".to_owned());
    }
    if is_cut(error) {
        return unavailable(format!("closed the connection ({text}); if it wants TLS, use rediss://"));
    }
    unavailable(format!("cannot be reached ({text}): check its name and the network"))
}

/// Whether a connection that was there is gone; a new one may do.
pub(super) fn is_cut(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal() && !error.is_timeout()
}

/// Whether the connection that gave this error is of no more use: it is gone, or leads to a server that is no longer the
/// primary.
pub(super) fn is_useless(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_connection_dropped()
        || matches!(
            error.kind(),
            ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
}

/// The server had its time.
pub(super) fn too_slow(address: &str, after: Duration) -> StoreError {
    StoreError::Unavailable(format!("{address} does not answer within {after:?}: {}", why_slow(address)).into())
}

/// A server that speaks no TLS waits for the end of a line when it is greeted with it.
fn why_slow(address: &str) -> &'static str {
    if address.starts_with("rediss") {
        "it stands still, or the way there does; or it speaks no TLS at this port: use redis://"
    } else {
        "it stands still, or the way there does"
    }
}

/// The store's own end.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it was closed".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadpool_redis::redis::Value;
    use deadpool_redis::redis::{RedisResult, parse_redis_value};

    fn answer(text: &str) -> StoreError {
        let value: RedisResult<Value> = parse_redis_value(format!("-{text}\r\n").as_bytes());
        explain("redis://host:1/0", &value.and_then(Value::extract_error).unwrap_err())
    }

    #[test]
    fn what_passes_by_itself_is_unavailable() {
        for text in [
            "LOADING Redis is loading the dataset in memory",
            "READONLY You can't write against a read only replica.",
            "MASTERDOWN Link with MASTER is down",
            "CLUSTERDOWN The cluster is down",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "BUSY Redis is busy running a script.",
            "MISCONF Redis is configured to save RDB snapshots",
            "NOREPLICAS Not enough good replicas to write.",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "ERR max number of clients reached",
            "STRANGE things happen",
        ] {
            let told = answer(text);
            assert!(
                matches!(&told, StoreError::Unavailable(words) if words.starts_with("redis://host:1/0 ")),
                "{told}"
            );
        }
    }

    #[test]
    fn what_somebody_has_to_set_right_is_refused() {
        for (text, word) in [
            ("NOAUTH Authentication required.", "password"),
            ("WRONGPASS invalid username-password pair or user is disabled.", "password"),
            ("NOPERM this user has no permissions to run the 'evalsha' command", "ACL"),
            ("ERR The user executing the script can't access at least one of the keys", "ACL"),
            ("ERR DB index is out of range", "database"),
        ] {
            let told = answer(text);
            assert!(matches!(&told, StoreError::Refused(words) if words.contains(word)), "{told}");
        }
        let damaged = answer("WRONGTYPE Operation against a key holding the wrong kind of value");
        assert!(matches!(damaged, StoreError::Corrupt(_)), "{damaged}");
    }
}
