//! What follows from each way in which a model call goes wrong: whether it is tried again at the same place, whether another
//! provider may answer instead, and whether it counts against the place. One table, which all layers go by.

pub use crate::messages::{Trouble, TroubleKind};

use std::sync::Arc;

/// Whether the same place is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Never.
    No,
    /// Once more.
    Once,
    /// As often as the policy has it.
    Yes,
    /// When the time is over that it asked for; another place may be asked at once.
    AfterItsTime,
}

/// What counts against a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: it is not to blame.
    None,
    /// A failure, of which several in a row open its breaker.
    Failure,
    /// It is left alone until the time is over that it asked for.
    Rest,
    /// It is left alone for long: until a day's quota is new.
    LongRest,
    /// Its key is wrong, which somebody has to mend.
    BadKey,
}

impl TroubleKind {
    /// Whether the same place is asked again.
    pub fn again(self) -> Again {
        match self {
            Self::Unavailable => Again::Yes,
            Self::TimedOut => Again::Once,
            Self::Throttled => Again::AfterItsTime,
            Self::Exhausted | Self::Invalid | Self::Filtered | Self::Unauthorized | Self::Broken | Self::Full => {
                Again::No
            }
        }
    }

    /// Whether another provider may answer instead. A question that one refuses as it is would be refused by the next, too,
    /// or be answered by one that was not meant to see it: only where somebody has said so.
    pub fn falls_back(self, also_refused: bool) -> bool {
        match self {
            Self::Unavailable | Self::TimedOut | Self::Throttled | Self::Exhausted | Self::Unauthorized => true,
            Self::Invalid | Self::Filtered => also_refused,
            Self::Broken | Self::Full => false,
        }
    }

    /// What counts against the place.
    pub fn mark(self) -> Mark {
        match self {
            Self::Unavailable | Self::TimedOut | Self::Broken => Mark::Failure,
            Self::Throttled => Mark::Rest,
            Self::Exhausted => Mark::LongRest,
            Self::Unauthorized => Mark::BadKey,
            Self::Invalid | Self::Filtered | Self::Full => Mark::None,
        }
    }
}

impl Trouble {
    /// What a failed HTTP exchange without words of its own is, by its status (providers' documentation, as one table).
    pub fn of_status(status: u16, message: impl Into<Arc<str>>) -> Self {
        let kind = match status {
            401 | 403 => TroubleKind::Unauthorized,
            408 => TroubleKind::TimedOut,
            // 409: a lock of the provider's own; 424: the model behind it failed.
            409 | 424 | 500.. => TroubleKind::Unavailable,
            429 => TroubleKind::Throttled,
            _ => TroubleKind::Invalid,
        };
        Self::new(kind, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TroubleKind::{Broken, Exhausted, Filtered, Full, Invalid, Throttled, TimedOut, Unauthorized, Unavailable};

    #[test]
    fn each_kind_means_what_the_table_says() {
        // Kind, asked again, falls back, also where refused questions do, mark.
        let table = [
            (Unavailable, Again::Yes, true, true, Mark::Failure),
            (TimedOut, Again::Once, true, true, Mark::Failure),
            (Throttled, Again::AfterItsTime, true, true, Mark::Rest),
            (Exhausted, Again::No, true, true, Mark::LongRest),
            (Invalid, Again::No, false, true, Mark::None),
            (Filtered, Again::No, false, true, Mark::None),
            (Unauthorized, Again::No, true, true, Mark::BadKey),
            (Broken, Again::No, false, false, Mark::Failure),
            (Full, Again::No, false, false, Mark::None),
        ];
        assert_eq!(table.map(|(kind, ..)| kind), TroubleKind::ALL);
        for (kind, again, falls_back, also_refused, mark) in table {
            let said = (kind.again(), kind.falls_back(false), kind.falls_back(true), kind.mark());
            assert_eq!(said, (again, falls_back, also_refused, mark), "{kind:?}");
        }
    }

    #[test]
    fn a_status_without_words_has_its_kind() {
        let table = [
            (400, Invalid),
            (401, Unauthorized),
            (402, Invalid),
            (403, Unauthorized),
            (404, Invalid),
            (408, TimedOut),
            (409, Unavailable),
            (413, Invalid),
            (422, Invalid),
            (424, Unavailable),
            (429, Throttled),
            (500, Unavailable),
            (503, Unavailable),
            (529, Unavailable),
        ];
        for (status, kind) in table {
            assert_eq!(Trouble::of_status(status, "").kind, kind, "{status}");
        }
    }
}
