//! SIGSTOP: a worker or a master stands still with its connections open, for longer than its heartbeats count, and does no
//! harm when it goes on.

use crate::cast::{Cast, Play};
use crate::load::now_ms;
use crate::rounds::{Dice, Strike, injury, is_long, long, through};
use crate::verdict::Injury;
use std::time::Duration;

/// Whom it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Worker,
    Master,
    Redis,
}

/// Lets one of these stand still.
pub struct Pause(pub Role);

/// How long. A heartbeat counts for 3 s here.
fn pause() -> Duration {
    Duration::from_secs(if is_long() { 20 } else { 5 })
}

impl Strike for Pause {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        let (worker, master) = (dice.one_of(cast.workers.len()), dice.one_of(cast.masters.len()));
        let mut injury = injury(format!("{:?} paused (worker {worker}, master {master})", self.0));
        match self.0 {
            Role::Worker => {
                injury.agents_at.push(cast.workers[worker].reached_at);
                cast.workers[worker].pause();
            }
            Role::Master => cast.masters[master].pause(),
            Role::Redis => cast.redis.pause(),
        }
        tokio::time::sleep(pause()).await;
        injury.over_ms = now_ms();
        match self.0 {
            Role::Worker => cast.workers[worker].resume(),
            Role::Master => cast.masters[master].resume(),
            Role::Redis => cast.redis.resume(),
        }
        injury
    }
}

#[tokio::test]
async fn of_a_worker() {
    through(Play::new("SIGSTOP of a worker", long()), Pause(Role::Worker)).await.clean();
}

#[tokio::test]
async fn of_a_master() {
    through(Play::new("SIGSTOP of a master", long()), Pause(Role::Master)).await.clean();
}

#[tokio::test]
async fn of_redis() {
    through(Play::new("SIGSTOP of Redis", long()), Pause(Role::Redis)).await.clean();
}
