//! Why a step went where it went, in a few words for its log. Every assignment keeps them, and many are alike, so that
//! they are rounded and shared.

use super::score::Score;
use foldhash::HashMap;
use std::fmt;
use std::sync::Arc;

/// After this many different reasons they are forgotten.
const MOST_REASONS: usize = 4096;

/// The words for each choice met lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Reasons(HashMap<Grounds, Arc<str>>);

/// What a choice rests on, rounded to what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Grounds {
    hundredths: i64,
    free: u32,
    slots: u32,
    expected_ms: Option<u64>,
    failing_percent: u8,
    how: How,
}

/// How an agent came to be the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum How {
    /// It had the best score of so many that were drawn, from so many with a free slot.
    Best { of: usize, free: usize },
    /// Its rest is over.
    Due,
    /// It rests, like all others.
    LeastBad,
}

impl Reasons {
    pub(super) fn of(&mut self, grounds: Grounds) -> Arc<str> {
        if self.0.len() >= MOST_REASONS {
            self.0.clear();
        }
        self.0.entry(grounds).or_insert_with(|| grounds.to_string().into()).clone()
    }
}

impl Grounds {
    pub(super) fn new(score: &Score, value: f64, how: How) -> Self {
        Self {
            hundredths: (value * 100.0).round() as i64,
            free: score.free,
            slots: score.slots,
            expected_ms: score.expected_ms.map(two_digits),
            failing_percent: (score.failing * 20.0).round() as u8 * 5,
            how,
        }
    }
}

/// Rounded to its two leading digits.
fn two_digits(ms: f64) -> u64 {
    let ms = ms.round().max(0.0) as u64;
    let unit = 10_u64.pow(ms.checked_ilog10().unwrap_or(0).saturating_sub(1));
    (ms + unit / 2) / unit * unit
}

impl fmt::Display for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hundredths, free, slots, expected_ms, failing_percent, how } = *self;
        write!(f, "score {:.2}: {free} of {slots} slots free, ", hundredths as f64 / 100.0)?;
        match expected_ms {
            None => f.write_str("no step timed yet")?,
            Some(ms) if ms < 1_000 => write!(f, "{ms} ms a step")?,
            Some(ms) => write!(f, "{} s a step", ms as f64 / 1_000.0)?,
        }
        if failing_percent > 0 {
            write!(f, ", {failing_percent} % failed lately")?;
        }
        match how {
            How::Best { of: _, free: 1 } => f.write_str(", no other is free"),
            How::Best { of, free } => write!(f, ", best of {of} drawn from {free}"),
            How::Due => f.write_str(", a probe after its rest"),
            How::LeastBad => f.write_str(", a probe because all rest"),
        }
    }
}
