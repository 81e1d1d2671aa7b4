//! Which roles run in a process, and where the others are: the master that takes tasks, the gateway that calls models, the
//! worker that hosts agents.

use crate::http::{ColleagueUrl, InternalToken, Networks};
use crate::task::{AgentId, Capability};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// What runs in this process; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Takes tasks and advances them.
    pub master: bool,
    /// Calls the models.
    pub gateway: bool,
    /// Hosts agents.
    pub worker: bool,
}

/// A text that names no roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no role {0:?}: use all, or of master, gateway and worker those that are to run here, such as master,gateway"
)]
pub struct UnknownRole(String);

impl Roles {
    /// All of them: a whole Callboard in one process.
    pub const ALL: Self = Self { master: true, gateway: true, worker: true };

    /// The port of a listener where nobody says, as the predecessor's services have them.
    pub fn port(self) -> u16 {
        match self {
            Self { master: true, .. } => 8000,
            Self { worker: true, .. } => 5000,
            _ => 7000,
        }
    }
}

impl FromStr for Roles {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let mut roles = Self { master: false, gateway: false, worker: false };
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "all" => roles = Self::ALL,
                "master" => roles.master = true,
                "gateway" => roles.gateway = true,
                "worker" => roles.worker = true,
                _ => return Err(UnknownRole(name.to_owned())),
            }
        }
        if roles.master || roles.gateway || roles.worker { Ok(roles) } else { Err(UnknownRole(text.to_owned())) }
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(self.master, "master"), (self.gateway, "gateway"), (self.worker, "worker")];
        let names: Vec<_> = names.into_iter().filter(|(is_here, _)| *is_here).map(|(_, name)| name).collect();
        f.write_str(&names.join(","))
    }
}

/// How the master answers to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MasterMode {
    /// It runs the team's pipeline.
    #[default]
    Pipeline,
    /// It says which steps there are, and runs those that are dispatched.
    Routing,
}

impl FromStr for MasterMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pipeline" => Ok(Self::Pipeline),
            "routing" => Ok(Self::Routing),
            other => Err(format!("there is no mode {other:?}: use pipeline or routing")),
        }
    }
}

/// Where the other roles are, and how this process is known to them.
#[derive(Debug, Clone)]
pub struct Colleagues {
    /// Where the master is, for a process that has none.
    pub master: Option<ColleagueUrl>,
    /// Where results are sent; to the master when none.
    pub callback: Option<ColleagueUrl>,
    /// Where the gateway is, for a process that has none.
    pub gateway: Option<ColleagueUrl>,
    /// How long the gateway may leave unsaid that it still has a call.
    pub gateway_timeout: Duration,
    /// Where the others reach this process's agents; made from the listener's address when none.
    pub public_url: Option<ColleagueUrl>,
    /// What the processes show each other.
    pub token: Option<InternalToken>,
    /// Where workers may be.
    pub networks: Networks,
    /// Everybody who reaches the listener is let in.
    pub insecure: bool,
}

/// Which of the team's agents a worker hosts; all when nothing is said.
#[derive(Debug, Clone, Default)]
pub struct Crew {
    /// One agent of this name, which does everything.
    pub agent: Option<AgentId>,
    /// Only these capabilities.
    pub capabilities: Option<Arc<[Capability]>>,
    /// What kind of specialist that one agent is.
    pub profile: Option<Arc<str>>,
    /// That one agent's system prompt.
    pub prompt: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_and_nothing_else_is() {
        assert_eq!("all".parse(), Ok(Roles::ALL));
        let two: Roles = "gateway, master".parse().unwrap();
        assert_eq!((two.to_string().as_str(), two.port()), ("master,gateway", 8000));
        assert_eq!("worker".parse::<Roles>().unwrap().port(), 5000);
        assert_eq!("gateway".parse::<Roles>().unwrap().port(), 7000);
        for wrong in ["", ",", "boss", "master,boss"] {
            assert!(wrong.parse::<Roles>().is_err(), "{wrong}");
        }
    }
}
