//! What a step may cost, as far as a team's file chooses: by stage, by agent, for the whole team, and at last as the
//! settings say.

use super::table::{Notes, Table};
use crate::settings::duration;
use crate::task::Limits;
use std::time::Duration;

/// The limits that were chosen at one place; the names are those of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Choices {
    max_attempts: Option<u32>,
    max_crashes: Option<u32>,
    max_losses: Option<u32>,
    /// Milliseconds, as all below.
    step_timeout: Option<u64>,
    retry_pause: Option<u64>,
    retry_pause_cap: Option<u64>,
    no_agent_timeout: Option<u64>,
}

impl Choices {
    pub fn read(table: &mut Table<'_>, notes: &mut Notes<'_>) -> Self {
        let mut number = |key| table.number(key, 1, notes).map(|chosen| chosen.value);
        let (max_attempts, max_crashes, max_losses) =
            (number("max_attempts"), number("max_crashes"), number("max_losses"));
        let mut time = |key, least| {
            let read = |text: &str| duration(text, least).map(ms);
            table.parsed(key, notes, read).map(|chosen| chosen.value)
        };
        Self {
            max_attempts,
            max_crashes,
            max_losses,
            step_timeout: time("step_timeout", Duration::from_millis(1)),
            retry_pause: time("retry_pause", Duration::ZERO),
            retry_pause_cap: time("retry_pause_cap", Duration::ZERO),
            no_agent_timeout: time("no_agent_timeout", Duration::ZERO),
        }
    }

    /// These, and where they say nothing, the others.
    pub fn over(self, beneath: Self) -> Self {
        Self {
            max_attempts: self.max_attempts.or(beneath.max_attempts),
            max_crashes: self.max_crashes.or(beneath.max_crashes),
            max_losses: self.max_losses.or(beneath.max_losses),
            step_timeout: self.step_timeout.or(beneath.step_timeout),
            retry_pause: self.retry_pause.or(beneath.retry_pause),
            retry_pause_cap: self.retry_pause_cap.or(beneath.retry_pause_cap),
            no_agent_timeout: self.no_agent_timeout.or(beneath.no_agent_timeout),
        }
    }

    /// These, and where they say nothing, those of the settings.
    pub fn on(self, limits: Limits) -> Limits {
        Limits {
            max_attempts: self.max_attempts.unwrap_or(limits.max_attempts),
            max_crashes: self.max_crashes.unwrap_or(limits.max_crashes),
            max_losses: self.max_losses.unwrap_or(limits.max_losses),
            timeout_ms: self.step_timeout.unwrap_or(limits.timeout_ms),
            backoff_ms: self.retry_pause.unwrap_or(limits.backoff_ms),
            backoff_cap_ms: self.retry_pause_cap.unwrap_or(limits.backoff_cap_ms),
            no_agent_timeout_ms: self.no_agent_timeout.unwrap_or(limits.no_agent_timeout_ms),
        }
    }

    /// The first limit that both choose, differently.
    pub fn quarrel(&self, other: &Self) -> Option<&'static str> {
        let both = self.by_name().into_iter().zip(other.by_name());
        let mut differing = both.filter_map(|((name, ours), (_, theirs))| (ours? != theirs?).then_some(name));
        differing.next()
    }

    fn by_name(&self) -> [(&'static str, Option<u64>); 7] {
        [
            ("max_attempts", self.max_attempts.map(u64::from)),
            ("max_crashes", self.max_crashes.map(u64::from)),
            ("max_losses", self.max_losses.map(u64::from)),
            ("step_timeout", self.step_timeout),
            ("retry_pause", self.retry_pause),
            ("retry_pause_cap", self.retry_pause_cap),
            ("no_agent_timeout", self.no_agent_timeout),
        ]
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_choice_counts_and_the_settings_come_last() {
        let stage = Choices { max_attempts: Some(1), ..Choices::default() };
        let agent = Choices { max_attempts: Some(2), step_timeout: Some(20), ..Choices::default() };
        let team =
            Choices { max_attempts: Some(3), step_timeout: Some(30), retry_pause: Some(40), ..Choices::default() };
        let limits = stage.over(agent).over(team).on(Limits::default());
        let expected = Limits { max_attempts: 1, timeout_ms: 20, backoff_ms: 40, ..Limits::default() };
        assert_eq!(limits, expected);
    }

    #[test]
    fn two_choices_quarrel_where_both_say_something_else() {
        let one = Choices { max_attempts: Some(1), step_timeout: Some(20), ..Choices::default() };
        let other = Choices { max_attempts: Some(1), step_timeout: Some(30), ..Choices::default() };
        assert_eq!(one.quarrel(&other), Some("step_timeout"));
        assert_eq!(one.quarrel(&Choices { max_losses: Some(9), ..one }), None);
    }
}
