//! What an error of such a server means. Sources: OpenAI's error codes and the retry rules of its official clients
//! (`openai-python`, `_base_client.py`): `x-should-retry` wins, 408, 409, 429 and 5xx pass, and of the 429s those do not that
//! are about money.

use crate::llm::trouble::{Trouble, TroubleKind};
use crate::llm::web::{Replied, header, wait_asked, words};
use serde::Deserialize;
use std::time::SystemTime;

/// 429s that waiting does not mend.
const UNPAID: [&str; 5] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
];

#[derive(Debug, Default, Deserialize)]
struct Envelope {
    error: Option<Error>,
}

/// Some servers send words alone.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Error {
    Words(String),
    Full {
        #[serde(default)]
        message: Option<String>,
        #[serde(default, rename = "type")]
        kind: Option<String>,
        /// A text, or, as vLLM has it, the status.
        #[serde(default)]
        code: serde_json::Value,
    },
}

impl Error {
    fn message(&self) -> &str {
        match self {
            Self::Words(words) => words,
            Self::Full { message, .. } => message.as_deref().unwrap_or_default(),
        }
    }

    fn is(&self, name: &str) -> bool {
        match self {
            Self::Words(_) => false,
            Self::Full { kind, code, .. } => kind.as_deref() == Some(name) || code.as_str() == Some(name),
        }
    }

    /// The status that an error within a stream stands for, where it names one.
    fn status(&self) -> Option<u16> {
        let Self::Full { code, .. } = self else { return None };
        let number = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
        u16::try_from(number).ok().filter(|status| (400..600).contains(status))
    }
}

/// What this error is.
pub(super) fn of(replied: &Replied) -> Trouble {
    let error = serde_json::from_slice::<Envelope>(&replied.body).ok().and_then(|envelope| envelope.error);
    let said = error.as_ref().map_or("", Error::message);
    let mut trouble = Trouble::of_status(replied.status, message(replied.status, said));
    if let Some(error) = &error {
        trouble.kind = refined(trouble.kind, error);
    }
    trouble.wait = wait_asked(&replied.headers, SystemTime::now());
    // The server's own word on whether asking again makes sense.
    match header(&replied.headers, "x-should-retry") {
        Some("true") if trouble.kind == TroubleKind::Invalid => trouble.kind = TroubleKind::Unavailable,
        Some("false") => trouble.is_final = true,
        _ => {}
    }
    trouble
}

/// What an error is that comes within a stream, after a 200.
pub(super) fn in_stream(error: &Error) -> Trouble {
    let status = error.status().unwrap_or(500);
    let mut trouble = Trouble::of_status(status, message(status, error.message()));
    trouble.kind = refined(trouble.kind, error);
    trouble
}

fn refined(kind: TroubleKind, error: &Error) -> TroubleKind {
    let passes = matches!(kind, TroubleKind::Throttled | TroubleKind::Unavailable);
    if passes && UNPAID.iter().any(|name| error.is(name)) {
        TroubleKind::Exhausted
    } else if error.is("content_filter") || error.is("content_policy_violation") {
        TroubleKind::Filtered
    } else if error.is("rate_limit_exceeded") || error.is("slow_down") {
        TroubleKind::Throttled
    } else {
        kind
    }
}

fn message(status: u16, said: &str) -> String {
    match words(said) {
        words if words.is_empty() => format!("the model server answered {status}, and does not say why"),
        words => format!("the model server answered {status}: {words}"),
    }
}

pub(super) fn bad_key() -> Trouble {
    let words = "the model server's key has characters that no header can carry: check openai_key";
    Trouble::new(TroubleKind::Unauthorized, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TroubleKind::{Exhausted, Filtered, Invalid, Throttled, TimedOut, Unauthorized, Unavailable};
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
    use std::time::Duration;

    fn replied(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Replied {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect::<HeaderMap>();
        Replied { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn errors_are_told_apart_by_status_type_and_code() {
        let error = |kind: &str, code: &str| {
            format!(r#"{{"error":{{"message":"so it is","type":"{kind}","param":null,"code":"{code}"}}}}"#)
        };
        let table = [
            (400, error("invalid_request_error", "context_length_exceeded"), Invalid),
            (400, error("invalid_request_error", "content_filter"), Filtered),
            (401, error("invalid_request_error", "invalid_api_key"), Unauthorized),
            (403, error("x", "unsupported_country_region_territory"), Unauthorized),
            (404, error("invalid_request_error", "model_not_found"), Invalid),
            (408, String::new(), TimedOut),
            (409, String::new(), Unavailable),
            (422, error("invalid_request_error", "x"), Invalid),
            (429, error("requests", "rate_limit_exceeded"), Throttled),
            (429, error("insufficient_quota", "insufficient_quota"), Exhausted),
            (429, error("billing", "project_spend_limit_exceeded"), Exhausted),
            (500, error("server_error", ""), Unavailable),
            (503, r#"{"error":"the model is loading"}"#.to_owned(), Unavailable),
            (502, "<html>Bad Gateway</html>".to_owned(), Unavailable),
        ];
        for (status, body, kind) in table {
            assert_eq!(of(&replied(status, &[], &body)).kind, kind, "{status} {body}");
        }
        let told = of(&replied(503, &[], r#"{"error":"the model is loading"}"#));
        assert_eq!(&*told.message, "the model server answered 503: the model is loading");
    }

    #[test]
    fn the_servers_own_word_on_trying_again_wins() {
        let told = |status, word| of(&replied(status, &[("x-should-retry", word)], ""));
        assert!(told(500, "false").is_final && !told(500, "true").is_final);
        assert_eq!((told(400, "true").kind, told(401, "true").kind), (Unavailable, Unauthorized));
        let waits = of(&replied(429, &[("retry-after-ms", "250")], ""));
        assert_eq!((waits.kind, waits.wait), (Throttled, Some(Duration::from_millis(250))));
    }

    #[test]
    fn an_error_within_a_stream_has_the_status_that_it_names() {
        let kind = |text: &str| in_stream(&serde_json::from_str(text).unwrap()).kind;
        assert_eq!(kind(r#"{"message":"overloaded","code":503}"#), Unavailable);
        assert_eq!(kind(r#"{"message":"slow","code":"429"}"#), Throttled);
        assert_eq!(kind(r#"{"message":"x","code":"rate_limit_exceeded"}"#), Throttled);
        assert_eq!(kind(r#"{"message":"x","type":"insufficient_quota","code":null}"#), Exhausted);
        assert_eq!(kind(r#""it fell over""#), Unavailable);
    }
}
