//! A split Callboard on this machine: Redis, a gateway, masters and workers, each a process of its own, as in production.
//! They listen on free ports of loopback, show each other a token made for them, and end with whoever started them.

mod member;

use super::client::Client;
use super::exit::{Code, Exit};
use callboard::settings::Overrides;
use callboard::task::Capability;
use callboard::team::Team;
use member::{Member, Start};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// How long the workers may take to join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is looked whether they have.
const JOIN_POLL: Duration = Duration::from_millis(50);

/// What is to be started.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many masters share the store.
    pub masters: usize,
    /// What each worker does: all of the team's agents that can.
    pub workers: Vec<Vec<Capability>>,
    /// Settings for all of them.
    pub choices: Overrides,
    /// The file of settings for all of them.
    pub config: Option<PathBuf>,
}

/// What workers are needed for a team: one for all of its agents that do the same.
pub fn workers(team: &Team) -> Vec<Vec<Capability>> {
    let mut kinds: Vec<Vec<Capability>> = Vec::new();
    for member in &team.members {
        let mut kind = member.capabilities.clone();
        kind.sort();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// The running processes, in the order in which they were started.
pub struct Split {
    members: Vec<Member>,
    clients: Vec<Client>,
    password: String,
    /// Redis's data and everybody's logs; gone at the end.
    _folder: TempDir,
}

/// One process, as others see it.
pub struct Seen<'a> {
    /// What it is.
    pub name: &'a str,
    /// Its number.
    pub pid: u32,
    /// Where it listens.
    pub place: &'a str,
}

impl Split {
    /// Starts all of them, and waits until the workers have joined every master.
    pub async fn start(shape: &Shape) -> Result<Self, Exit> {
        let folder = tempfile::tempdir().map_err(|error| {
            Exit::new(Code::Unavailable, format!("no temporary folder: {error}; set TMPDIR to one that can be written"))
        })?;
        let (key, token, password) = (secret(), secret(), secret());
        let mut common = shape.choices.clone();
        common.extend([
            ("listen", "127.0.0.1:0".to_owned()),
            ("api_keys", format!("{key}=default")),
            ("internal_token", token),
            ("redis_password", password.clone()),
            // Nobody watches the demonstration's processes but whoever started them.
            ("frozen_exit", "never".to_owned()),
        ]);
        let start = Start { folder: folder.path().to_owned(), config: shape.config.clone(), common };
        let redis = start.redis(&password).await?;
        let store = format!("redis://{}", redis.place());
        let mut members = vec![redis];
        let gateway = start.callboard("gateway", vec![("role", "gateway".to_owned())]).await?;
        let gateway_url = format!("http://{}", gateway.place());
        members.push(gateway);
        let mut urls = Vec::new();
        for number in 1..=shape.masters {
            let own =
                vec![("role", "master".to_owned()), ("store", store.clone()), ("gateway_url", gateway_url.clone())];
            let master = start.callboard(&format!("master {number}"), own).await?;
            urls.push(format!("http://{}", master.place()));
            members.push(master);
        }
        for capabilities in &shape.workers {
            let names = capabilities.iter().map(Capability::as_str).collect::<Vec<_>>().join(",");
            let own = vec![
                ("role", "worker".to_owned()),
                ("capabilities", names.clone()),
                ("master_url", urls.join(",")),
                ("gateway_url", gateway_url.clone()),
            ];
            members.push(start.callboard(&format!("worker {names}"), own).await?);
        }
        let clients = urls.iter().map(|url| Client::new(url, Some(&key))).collect::<Result<_, _>>()?;
        let split = Self { members, clients, password, _folder: folder };
        split.joined(shape.workers.len()).await?;
        Ok(split)
    }

    /// A client of each master.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// What Redis has carried out so far: commands in all, those inside scripts among them, and scripts.
    pub async fn redis_counts(&self) -> Result<(u64, u64), Exit> {
        let redis = self.members.first().ok_or_else(|| Exit::internal("there is no Redis"))?;
        let stats = member::ask_redis(redis.place(), &self.password, "INFO commandstats").await;
        let stats = stats.map_err(|error| Exit::new(Code::Unavailable, format!("redis-server: {error}")))?;
        Ok(counted(&stats))
    }

    /// Who runs.
    pub fn seen(&self) -> impl Iterator<Item = Seen<'_>> {
        self.members.iter().map(|member| Seen { name: member.name(), pid: member.pid(), place: member.place() })
    }

    /// Ends all of them, the last started first.
    pub async fn end(mut self) {
        while let Some(member) = self.members.pop() {
            member.end().await;
        }
    }

    async fn joined(&self, workers: usize) -> Result<(), Exit> {
        let all = async {
            for client in &self.clients {
                while client.get::<super::wire::Agents>(&["agents"]).await?.read.agents.len() < workers {
                    tokio::time::sleep(JOIN_POLL).await;
                }
                // Readiness says `degraded` for as long as a mandatory stage has nobody that the master reaches.
                while client.get::<super::wire::Ready>(&["ready"]).await?.read.status != "ready" {
                    tokio::time::sleep(JOIN_POLL).await;
                }
            }
            Ok::<_, Exit>(())
        };
        let late =
            || Exit::new(Code::Unavailable, format!("the workers did not join within {} s", JOIN_TIMEOUT.as_secs()));
        tokio::time::timeout(JOIN_TIMEOUT, all).await.map_err(|_| late())?
    }
}

/// All calls of `INFO commandstats`, and those of scripts.
fn counted(stats: &str) -> (u64, u64) {
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name, rest.split(',').next()?.parse::<u64>().ok()?))
    });
    calls.fold((0, 0), |(all, asked), (name, calls)| {
        let is_asked = matches!(name, "evalsha" | "eval");
        (all + calls, if is_asked { asked + calls } else { asked })
    })
}

/// A secret for the time that these processes live.
fn secret() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_told_from_what_they_did() {
        let stats = "# Commandstats\r\ncmdstat_hset:calls=10,usec=7\r\ncmdstat_evalsha:calls=5,usec=9,x=1\r\n";
        assert_eq!(counted(stats), (15, 5));
    }
}
