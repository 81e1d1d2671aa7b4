//! SIGKILL: of a worker, a master, the gateway, Redis, and of two at once.

use crate::cast::{Cast, Play};
use crate::load::now_ms;
use crate::rounds::{Dice, Strike, injury, long, through};
use crate::support::redis::Wanted;
use crate::verdict::Injury;

/// Whom it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Worker,
    Master,
    Gateway,
    Redis,
}

/// Kills these at once, and starts them again a moment later.
pub struct Kill {
    roles: &'static [Role],
    /// How many workers and masters, from the first on, are not killed.
    spared: usize,
}

impl Kill {
    /// Any of these.
    fn any(roles: &'static [Role]) -> Self {
        Self { roles, spared: 0 }
    }

    /// Any of these but the first worker and the first master.
    pub fn sparing_the_first(roles: &'static [Role]) -> Self {
        Self { roles, spared: 1 }
    }
}

impl Strike for Kill {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        let mut one_of = |count: usize| self.spared + dice.one_of(count - self.spared);
        let (worker, master) = (one_of(cast.workers.len()), one_of(cast.masters.len()));
        let mut injury = injury(format!("{:?} killed (worker {worker}, master {master})", self.roles));
        for role in self.roles {
            match role {
                Role::Worker => {
                    injury.agents_at.push(cast.workers[worker].reached_at);
                    cast.workers[worker].kill();
                }
                Role::Master => cast.masters[master].kill(),
                Role::Gateway => cast.gateway.kill(),
                Role::Redis => cast.redis.kill(),
            }
        }
        tokio::time::sleep(dice.between(500, 1500)).await;
        injury.over_ms = now_ms();
        // A start waits until its process listens, and a master waits for Redis.
        if self.roles.contains(&Role::Redis) {
            cast.redis.restart();
        }
        for role in self.roles {
            match role {
                Role::Worker => cast.workers[worker].start(),
                Role::Master => cast.masters[master].start(),
                Role::Gateway => cast.gateway.start(),
                Role::Redis => {}
            }
        }
        cast.until_joined().await;
        injury
    }
}

/// A server whose file is written through before each answer.
pub fn always() -> Wanted {
    Wanted::default().durable().line("appendfsync always")
}

async fn kill(name: &'static str, roles: &'static [Role], redis: Wanted) {
    through(Play::new(name, long()).redis(redis), Kill::any(roles)).await.clean();
}

#[tokio::test]
async fn of_a_worker() {
    kill("SIGKILL of a worker", &[Role::Worker], Wanted::default()).await;
}

#[tokio::test]
async fn of_a_master() {
    kill("SIGKILL of a master", &[Role::Master], Wanted::default()).await;
}

#[tokio::test]
async fn of_the_gateway() {
    kill("SIGKILL of the gateway", &[Role::Gateway], Wanted::default()).await;
}

#[tokio::test]
async fn of_redis() {
    kill("SIGKILL of Redis, AOF always", &[Role::Redis], always()).await;
}

#[tokio::test]
async fn of_a_worker_and_a_master() {
    kill("SIGKILL of a worker and a master", &[Role::Worker, Role::Master], Wanted::default()).await;
}

#[tokio::test]
async fn of_a_master_and_redis() {
    kill("SIGKILL of a master and Redis", &[Role::Master, Role::Redis], always()).await;
}

#[tokio::test]
async fn of_a_worker_and_the_gateway() {
    kill("SIGKILL of a worker and the gateway", &[Role::Worker, Role::Gateway], Wanted::default()).await;
}
