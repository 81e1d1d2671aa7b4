//! The way to providers over HTTPS: one pooled client, what each way of getting no answer means, and bounds on what is
//! read. It follows no redirect, so that a key goes nowhere else, and no error names a URL or a key.

use super::trouble::{Trouble, TroubleKind};
use futures_util::stream::{BoxStream, StreamExt as _};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use sse_stream::SseByteStream;
use std::time::{Duration, SystemTime};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes; of a stream, all of it together.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// The most of a provider's own words that are passed on, in characters.
const MAX_WORDS: usize = 300;

/// A client.
#[derive(Debug, Clone)]
pub(super) struct Web {
    client: reqwest::Client,
    silence: Duration,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Replied {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// An answer that comes event by event: the data of each.
pub(super) type Events = BoxStream<'static, Result<String, Trouble>>;

impl Web {
    /// A client that gives up a provider from which nothing came for so long.
    ///
    /// # Errors
    /// In words, when this machine's TLS cannot be used.
    pub fn new(silence: Duration) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(silence)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .build()
            .map_err(|error| format!("no client for the model providers can be made: {error}"))?;
        Ok(Self { client, silence })
    }

    /// Sends a question, and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`TroubleKind::Unavailable`] or [`TroubleKind::TimedOut`] when there is no answer.
    pub async fn post(&self, url: &str, headers: HeaderMap, body: &impl Serialize) -> Result<Replied, Trouble> {
        let response = self.sent(url, headers, body).await?;
        self.read(response).await
    }

    /// Sends a question whose answer comes in events.
    ///
    /// # Errors
    /// As [`post`](Self::post). An answer that is none is given whole, as `Err` within: why is for its provider to say.
    pub async fn post_for_events(
        &self,
        url: &str,
        headers: HeaderMap,
        body: &impl Serialize,
    ) -> Result<Result<Events, Replied>, Trouble> {
        let response = self.sent(url, headers, body).await?;
        if !response.status().is_success() {
            return self.read(response).await.map(Err);
        }
        let silence = self.silence;
        let mut left = MAX_ANSWER_BYTES;
        let bytes = response.bytes_stream().map(move |bytes| {
            let bytes = bytes.map_err(|error| Lost(lost(error, silence)))?;
            left = left.checked_sub(bytes.len()).ok_or_else(|| Lost(too_long()))?;
            Ok::<_, Lost>(bytes)
        });
        let events = SseByteStream::new(bytes).filter_map(|event| {
            let data = match event {
                Ok(event) => event.data.filter(|data| !data.is_empty()).map(Ok),
                Err(sse_stream::Error::Body(error)) => {
                    let lost = error.downcast::<Lost>().map(|lost| lost.0);
                    Some(Err(lost.unwrap_or_else(|error| garbled(&error))))
                }
                Err(error) => Some(Err(garbled(&error))),
            };
            std::future::ready(data)
        });
        Ok(Ok(events.boxed()))
    }

    async fn sent(
        &self,
        url: &str,
        mut headers: HeaderMap,
        body: &impl Serialize,
    ) -> Result<reqwest::Response, Trouble> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Trouble::new(TroubleKind::Invalid, format!("the question cannot be written: {error}")))?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let sent = self.client.post(url).headers(headers).body(body).send().await;
        sent.map_err(|error| lost(error, self.silence))
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Replied, Trouble> {
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(error, self.silence))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Replied { status, headers, body })
    }
}

/// What ends a stream of bytes, for its decoder.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Lost(Trouble);

fn lost(error: reqwest::Error, silence: Duration) -> Trouble {
    if error.is_timeout() && !error.is_connect() {
        return Trouble::new(TroubleKind::TimedOut, format!("the provider said nothing for {silence:?}"));
    }
    let what = if error.is_connect() { "the provider cannot be reached" } else { "the provider's answer broke off" };
    let error = error.without_url();
    // The innermost cause is the one that says something.
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Trouble::new(TroubleKind::Unavailable, format!("{what}: {cause}"))
}

fn garbled(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::new(TroubleKind::Unavailable, format!("the provider's stream cannot be read: {error}"))
}

fn too_long() -> Trouble {
    Trouble::new(TroubleKind::Invalid, format!("the provider's answer is longer than {MAX_ANSWER_BYTES} bytes"))
}

/// An answer that its provider never gives.
pub(super) fn unreadable(what: &str) -> Trouble {
    Trouble::new(TroubleKind::Unavailable, format!("the provider's answer cannot be read: {what}"))
}

/// A provider's own words, short enough to be passed on.
pub(super) fn words(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A header's text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// How long the answer's headers ask to be left alone: `retry-after-ms` and Azure's `x-ms-retry-after-ms`, then
/// `retry-after` in seconds, also broken ones, or as a date. In this order the official clients read them.
pub(super) fn wait_asked(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let ms = ["retry-after-ms", "x-ms-retry-after-ms"].iter().find_map(|name| {
        let ms = header(headers, name)?.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(ms / 1000.0).ok()
    });
    ms.or_else(|| {
        let text = header(headers, "retry-after")?;
        match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => {
                let date = httpdate::parse_http_date(text).ok()?;
                Some(date.duration_since(now).unwrap_or_default())
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_be_left_alone_is_read_from_each_header_in_order() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let asked = |headers: &[(&'static str, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), HeaderValue::from_static(value)));
            wait_asked(&headers.collect(), now)
        };
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(asked(&[("retry-after-ms", "1500"), ("retry-after", "9")]), ms(1_500));
        assert_eq!(asked(&[("x-ms-retry-after-ms", "20"), ("retry-after", "9")]), ms(20));
        assert_eq!(asked(&[("retry-after", "2.5")]), ms(2_500));
        assert_eq!(asked(&[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")]), ms(10_000));
        assert_eq!(asked(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), ms(0));
        for nonsense in ["soon", "-1", "NaN", "1e300"] {
            assert_eq!(
                wait_asked(&HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, nonsense.parse().unwrap())]), now),
                None
            );
        }
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn words_are_cut_between_characters() {
        assert_eq!(words("  short "), "short");
        let long = words(&"日本".repeat(MAX_WORDS));
        assert_eq!(long.chars().count(), MAX_WORDS + 1);
    }
}
