//! A replica takes over from the Redis server: one that has everything, and one that lags behind.

use crate::cast::{Cast, Pair, Play};
use crate::load::now_ms;
use crate::rounds::{Dice, Strike, injury, long, through_with};
use crate::support::redis::{Redis, Wanted};
use crate::verdict::Injury;
use crate::wire::{Condition, Wire};
use std::time::{Duration, Instant};

/// How long the replica hears nothing before it takes over, where it lags.
const LAG: Duration = Duration::from_millis(400);
/// Longer than a replica takes to catch up on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Promotes the replica, kills the primary, and makes that the new one's replica.
struct FailOver {
    replica: Redis,
    /// What the replica hears the primary through.
    ear: Wire,
    lags: bool,
}

impl FailOver {
    fn of(primary: &Redis, lags: bool) -> Self {
        let ear = Wire::to(primary.port());
        let replica = Wanted::default().line(&format!("replicaof 127.0.0.1 {}", ear.port)).start();
        Self { replica, ear, lags }
    }
}

/// Waits until a replica has what its primary had just now.
async fn caught_up(replica: &Redis) {
    let until = Instant::now() + PATIENCE;
    while !replica.say("INFO replication").text().contains("master_link_status:up") {
        assert!(Instant::now() < until, "the replica does not catch up: {}", replica.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Strike for FailOver {
    async fn strike(&mut self, cast: &mut Cast, _: &mut Dice) -> Injury {
        caught_up(&self.replica).await;
        if self.lags {
            self.ear.set(Condition::Dead);
            tokio::time::sleep(LAG).await;
        }
        let mut injury = injury(if self.lags { "a lagging replica took over" } else { "a replica took over" });
        // Nothing is written to the old one any more, as of the moment when the other is promoted.
        if !self.lags {
            cast.redis.say("CLIENT PAUSE 10000 WRITE");
            cast.redis.say("WAIT 1 2000");
        }
        self.replica.say("REPLICAOF NO ONE");
        cast.redis.kill();
        cast.wires[0].lead_to(self.replica.port());
        injury.over_ms = now_ms();
        // They change places.
        std::mem::swap(&mut cast.redis, &mut self.replica);
        self.ear = Wire::to(cast.redis.port());
        self.replica.restart_with(&[&format!("replicaof 127.0.0.1 {}", self.ear.port)]);
        injury
    }
}

async fn fail_over(name: &'static str, lags: bool, wait_replicas: &str) -> crate::verdict::Verdict {
    let play =
        Play::new(name, long()).wired(Pair::MasterToRedis).setting("CALLBOARD_REDIS_WAIT_REPLICAS", wait_replicas);
    through_with(play, move |cast: &Cast| FailOver::of(&cast.redis, lags)).await
}

#[tokio::test]
async fn to_a_replica_that_has_everything() {
    fail_over("fail-over to a replica", false, "0").await.clean();
}

#[tokio::test]
async fn to_a_replica_that_lags_where_nobody_waits_for_it() {
    // What was accepted of late may be gone: that is what the durability table says. What is there is sound.
    fail_over("fail-over to a lagging replica", true, "0").await.sound();
}

#[tokio::test]
async fn to_a_replica_that_lags_where_acceptances_wait_for_it() {
    fail_over("the same, redis_wait_replicas = 1", true, "1").await.clean();
}
