//! Moments as people and programs read and write them: shown as RFC 3339 in UTC, to the millisecond, and read with any
//! offset.

use super::error::ApiError;
use crate::task::At;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in words. One that no calendar has is shown as the last that it has.
pub(super) fn rfc3339(at: At) -> String {
    /// The last millisecond of the year 9999.
    const LAST: u64 = 253_402_300_799_999;
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(at.0.min(LAST));
    humantime::format_rfc3339_millis(moment).to_string()
}

/// The moment that a client names, as RFC 3339 says it. Nothing happened before 1970, so what is earlier is as early.
pub(super) fn moment(name: &str, text: &str) -> Result<At, ApiError> {
    let wrong = || ApiError::invalid(name, format!("{name} must be a moment such as 2026-11-24T08:00:00Z"));
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    let ms = moment.unix_timestamp_nanos().max(0) / 1_000_000;
    u64::try_from(ms).map(At).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_and_anything_else_is_told_how() {
        assert_eq!(moment("since", "2023-11-14T22:13:20.123Z").unwrap(), At(1_700_000_000_123));
        assert_eq!(moment("since", "2023-11-14T23:13:20.123456+01:00").unwrap(), At(1_700_000_000_123));
        assert_eq!(moment("since", "2023-11-14T12:13:20-10:00").unwrap(), At(1_700_000_000_000));
        assert_eq!(moment("since", "1960-01-01T00:00:00Z").unwrap(), At(0));
        assert_eq!(moment("since", "0000-01-01T00:00:00+23:59").unwrap(), At(0));
        for wrong in ["", "yesterday", "1700000000", "2023-11-14", "2023-11-14T22:13:20", "2023-02-30T00:00:00Z"] {
            assert!(moment("since", wrong).unwrap_err().to_string().contains("since must be a moment"), "{wrong}");
        }
    }

    #[test]
    fn every_moment_has_words() {
        assert_eq!(rfc3339(At(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(At(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(At(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
