//! Moments as people and programs read them: RFC 3339 in UTC, to the millisecond.

use crate::task::At;
use std::time::{Duration, SystemTime};

/// A moment in words. One that no calendar has is shown as the last that it has.
pub(super) fn rfc3339(at: At) -> String {
    /// The last millisecond of the year 9999.
    const LAST: u64 = 253_402_300_799_999;
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(at.0.min(LAST));
    humantime::format_rfc3339_millis(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_has_words() {
        assert_eq!(rfc3339(At(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(At(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(At(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
