//! The mock's script: which call of which capability fails in which way, and how long calls take. It owns the grammar
//! and its errors; carrying a fault out is the mock's.
//!
//! ```text
//! script     = [ rule *( "," rule ) ]
//! rule       = capability ":" ( fault | "latency=" duration [ ".." duration ] ) [ "@" N ]
//! capability = "*" | a capability's name, without "," and ":"
//! fault      = "error" | "fatal" | "malformed" | "broken" | "panic" | "hang"
//! N          = a whole number from 1: the rule is for every N-th call; without "@N" for every call
//! duration   = "50ms", "4m", "1h 30m"
//! ```
//!
//! Calls are counted per capability from 1, also for the rules of `*`. Of several rules that fit a call, those that
//! name the capability go before those of `*`, and earlier ones before later ones; one fault and one latency apply. A
//! latency of two durations is one between them, which depends on the call's number alone.

use crate::task::Capability;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// What can go wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A retryable model error.
    Error,
    /// A fatal model error.
    Fatal,
    /// An answer without a single word in it.
    Malformed,
    /// An answer that breaks off in the middle.
    Broken,
    /// A panic in the provider.
    Panic,
    /// A call that never ends.
    Hang,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 6] = [Self::Error, Self::Fatal, Self::Malformed, Self::Broken, Self::Panic, Self::Hang];

    /// Its word in a script.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Fatal => "fatal",
            Self::Malformed => "malformed",
            Self::Broken => "broken",
            Self::Panic => "panic",
            Self::Hang => "hang",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Fault(Fault),
    /// From the one to the other; mostly the same.
    Latency(Duration, Duration),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// None is `*`.
    capability: Option<Capability>,
    action: Action,
    /// It is for every so-many-th call.
    every: NonZeroU64,
}

/// A parsed script. Its `Display` form parses to the same script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script(Vec<Rule>);

impl Script {
    /// The fault of a capability's n-th call, counted from 1.
    pub fn fault(&self, capability: &Capability, call: u64) -> Option<Fault> {
        self.rules_for(capability, call).find_map(|rule| match rule.action {
            Action::Fault(fault) => Some(fault),
            Action::Latency(..) => None,
        })
    }

    /// How long a capability's n-th call takes, counted from 1, where the script says so.
    pub fn latency(&self, capability: &Capability, call: u64) -> Option<Duration> {
        self.rules_for(capability, call).find_map(|rule| match rule.action {
            Action::Latency(from, to) => Some(from + to.saturating_sub(from).mul_f64(share(call))),
            Action::Fault(_) => None,
        })
    }

    fn rules_for(&self, capability: &Capability, call: u64) -> impl Iterator<Item = &Rule> {
        let named = self.0.iter().filter(move |rule| rule.capability.as_ref() == Some(capability));
        let rules = named.chain(self.0.iter().filter(|rule| rule.capability.is_none()));
        rules.filter(move |rule| call.is_multiple_of(rule.every.get()))
    }
}

/// A number from 0 to 1 for a call, spread evenly and the same each time: the fractional part of multiples of the golden
/// ratio (Weyl's equidistribution).
fn share(call: u64) -> f64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    // The upper 32 bits, which a float holds exactly.
    f64::from((call.wrapping_mul(GOLDEN) >> 32) as u32) / f64::from(u32::MAX)
}

/// Why a text is not a script: which rule, and what may stand there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// No colon.
    #[error("mock script: \"{rule}\" has no \":\"; write CAPABILITY:FAULT@N, such as evaluate:error@5")]
    NoColon {
        /// The offending rule.
        rule: String,
    },
    /// A name that no capability can have.
    #[error("mock script: \"{rule}\" does not begin with a capability's name or * ({why})")]
    Capability {
        /// The offending rule.
        rule: String,
        /// What is wrong with the name.
        why: String,
    },
    /// A word that is no action.
    #[error("mock script: \"{word}\" in \"{rule}\" is unknown; allowed are {}", allowed())]
    Action {
        /// The offending rule.
        rule: String,
        /// The offending word.
        word: String,
    },
    /// Not a count.
    #[error("mock script: \"{count}\" in \"{rule}\" is not a count; write a whole number from 1 after the @")]
    Count {
        /// The offending rule.
        rule: String,
        /// The offending count.
        count: String,
    },
    /// Not a duration.
    #[error("mock script: \"{duration}\" in \"{rule}\" is not a duration ({why}); write it as 50ms, 3s or 4m")]
    Duration {
        /// The offending rule.
        rule: String,
        /// The offending duration.
        duration: String,
        /// What is wrong with it.
        why: String,
    },
}

fn allowed() -> String {
    let faults: Vec<_> = Fault::ALL.iter().map(|fault| fault.word()).collect();
    format!("{} and latency=DURATION or latency=DURATION..DURATION", faults.join(", "))
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(|rule| parse_rule(rule.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_rule(rule: &str) -> Result<Rule, ScriptError> {
    let Some((name, action)) = rule.split_once(':') else {
        return Err(ScriptError::NoColon { rule: rule.into() });
    };
    let capability = match name.trim() {
        "*" => None,
        name => Some(
            Capability::parse(name)
                .map_err(|error| ScriptError::Capability { rule: rule.into(), why: error.to_string() })?,
        ),
    };
    let (action, count) = action.split_once('@').unwrap_or((action, "1"));
    let every = count.trim().parse();
    let every = every.map_err(|_| ScriptError::Count { rule: rule.into(), count: count.trim().into() });
    Ok(Rule { capability, action: parse_action(rule, action.trim())?, every: every? })
}

fn parse_action(rule: &str, action: &str) -> Result<Action, ScriptError> {
    if let Some(("latency", text)) = action.split_once('=').map(|(word, text)| (word.trim_end(), text)) {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        return Ok(Action::Latency(parse_duration(rule, from.trim())?, parse_duration(rule, to.trim())?));
    }
    let fault = Fault::ALL.into_iter().find(|fault| fault.word() == action);
    fault.map(Action::Fault).ok_or_else(|| ScriptError::Action { rule: rule.into(), word: action.into() })
}

fn parse_duration(rule: &str, text: &str) -> Result<Duration, ScriptError> {
    humantime::parse_duration(text).map_err(|error| ScriptError::Duration {
        rule: rule.into(),
        duration: text.into(),
        why: error.to_string(),
    })
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:", rule.capability.as_ref().map_or("*", Capability::as_str))?;
            match rule.action {
                Action::Fault(fault) => write!(f, "{}", fault.word())?,
                Action::Latency(from, to) if from == to => write!(f, "latency={}", humantime::format_duration(from))?,
                Action::Latency(from, to) => {
                    write!(f, "latency={}..{}", humantime::format_duration(from), humantime::format_duration(to))?;
                }
            }
            write!(f, "@{}", rule.every)?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn capability(name: &str) -> Capability {
        Capability::parse(name).unwrap()
    }

    #[test]
    fn every_nth_call_of_the_named_capability_has_the_fault() {
        let script: Script = " retrieve:panic@3 , evaluate:error ".parse().unwrap();
        let faults: Vec<_> = (1..=6).map(|call| script.fault(&capability("retrieve"), call).is_some()).collect();
        assert_eq!(faults, [false, false, true, false, false, true]);
        assert_eq!(script.fault(&capability("evaluate"), 1), Some(Fault::Error));
        assert_eq!(script.fault(&capability("analyze"), 3), None);
    }

    #[test]
    fn named_rules_go_before_star_and_earlier_before_later() {
        let script: Script = "*:hang@2,*:latency=1s,a:fatal@2,a:broken@2,a:latency=4m".parse().unwrap();
        assert_eq!(script.fault(&capability("a"), 2), Some(Fault::Fatal));
        assert_eq!(script.fault(&capability("b"), 2), Some(Fault::Hang));
        assert_eq!(script.latency(&capability("a"), 1), Some(Duration::from_secs(240)));
        assert_eq!(script.latency(&capability("b"), 1), Some(Duration::from_secs(1)));
    }

    #[test]
    fn latencies_may_vary_and_be_for_some_calls_only() {
        let script: Script = "*:latency=30s@200,*:latency=20ms..200ms".parse().unwrap();
        let of = |call| script.latency(&capability("a"), call).unwrap();
        assert_eq!((of(200), of(400)), (Duration::from_secs(30), Duration::from_secs(30)));
        let usual: Vec<_> = (1..200).map(of).collect();
        assert!(usual.iter().all(|one| (Duration::from_millis(20)..=Duration::from_millis(200)).contains(one)));
        let long = usual.iter().filter(|one| **one > Duration::from_millis(110)).count();
        assert!((90..110).contains(&long), "{long} of 199 in the upper half");
        assert_eq!(usual, (1..200).map(of).collect::<Vec<_>>());
    }

    #[test]
    fn errors_name_the_part_and_the_allowed_words() {
        let error = |text: &str| text.parse::<Script>().unwrap_err().to_string();
        assert_eq!(
            error("a:panic@3,evaluate:eror@5"),
            "mock script: \"eror\" in \"evaluate:eror@5\" is unknown; allowed are error, fatal, malformed, broken, \
             panic, hang and latency=DURATION or latency=DURATION..DURATION"
        );
        assert!(error("panic@3").contains("\"panic@3\" has no \":\""));
        assert!(error("a:panic@0").contains("\"0\" in \"a:panic@0\""));
        assert!(error("a:panic@x").contains("\"x\""));
        assert!(error("a:latency=soon").contains("\"soon\""));
        assert!(error(":panic").contains("at least 1 character"));
        assert!(error("a:panic,").contains("\"\" has no"));
    }

    proptest! {
        #[test]
        fn a_script_survives_being_written_and_read(
            rules in prop::collection::vec(("[a-z_]{1,9}|\\*", 0..7usize, 1..1000u64), 0..6)
        ) {
            let rules: Vec<_> = rules.into_iter().map(|(name, action, n)| match Fault::ALL.get(action) {
                Some(fault) => format!("{name}:{}@{n}", fault.word()),
                None if n % 2 == 0 => format!("{name}:latency={n}ms"),
                None => format!("{name}:latency={n}ms..{}ms@{n}", 2 * n),
            }).collect();
            let script: Script = rules.join(",").parse().unwrap();
            prop_assert_eq!(script.to_string().parse::<Script>().unwrap(), script);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Script>();
        }
    }
}
