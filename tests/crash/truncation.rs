//! The machine of a Redis server with `appendfsync everysec` loses power: the end of its file is gone. What was answered
//! for within the last second may be lost, as the durability table says; whoever saw more is told so, and the rest is sound.

use crate::cast::{Cast, Play};
use crate::load::now_ms;
use crate::rounds::{Dice, Strike, injury, long, through};
use crate::support::redis::Wanted;
use crate::verdict::Injury;
use callboard::store::{ListQuery, Store};
use callboard::task::{Status, TaskKey};

/// The most that is cut off, in bytes: about what a second writes.
const MOST: u64 = 200_000;
/// How many open tasks are looked at.
const SEEN: usize = 50;

/// Kills Redis and cuts the end of its file off.
struct Cut {
    /// How many readers were told that a log is shorter than what they saw.
    told: usize,
}

impl Strike for Cut {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        let seen = open_tasks(cast).await;
        let mut injury = injury("Redis lost the end of its file");
        cast.redis.kill();
        cast.redis.cut_end(dice.between(1_000, MOST).as_millis().try_into().unwrap());
        cast.redis.restart();
        // Before anything goes on, so that what is missing is seen.
        let store = cast.store().await;
        let mut shorter = Vec::new();
        for (key, version) in seen {
            if let Some(task) = store.load(&key).await.unwrap().filter(|task| task.version < version) {
                shorter.push((key, version, task.version));
            }
        }
        injury.over_ms = now_ms();
        cast.until_joined().await;
        for (key, seen, _) in shorter {
            self.told += usize::from(is_told(cast, &key, seen).await);
        }
        injury
    }
}

/// Open tasks, with how far each of them is.
async fn open_tasks(cast: &Cast) -> Vec<(TaskKey, u64)> {
    let store = cast.store().await;
    let query = ListQuery { tenant: None, status: Some(Status::Running), before: None, limit: SEEN };
    let mut seen = Vec::new();
    for listed in store.list(query).await.unwrap().tasks {
        if let Some(task) = store.load(&listed.key).await.unwrap() {
            seen.push((listed.key, task.version));
        }
    }
    seen
}

/// Whether a reader that saw so many events is told that the log is shorter now. By the time that it asks, the log may
/// have grown past that again.
async fn is_told(cast: &Cast, key: &TaskKey, seen: u64) -> bool {
    let server = cast.masters[0].running.as_ref().expect("it runs");
    let url = format!("{}/task/{}/events?after={seen}", server.url, key.id);
    let text = server.client.get(url).send().await.unwrap().text().await.unwrap();
    text.contains("event: log_truncated")
}

#[tokio::test]
async fn of_a_file_that_is_synced_every_second() {
    let redis = Wanted::default().durable().line("appendfsync everysec");
    let play = Play::new("Redis loses the end of its file, AOF everysec", long()).redis(redis);
    through(play, Cut { told: 0 }).await.sound();
}
