//! The machine of a Redis server with `appendfsync everysec` loses power: the end of its file is gone. What was answered
//! for within the last second may be lost, as the durability table says, and the rest is sound. Who had read what was cut off
//! is told so, also when others have taken its place since.

use crate::cast::{Cast, Play};
use crate::load::now_ms;
use crate::readers::Readers;
use crate::rounds::{Dice, Strike, injury, long, through};
use crate::support::redis::Wanted;
use crate::verdict::Injury;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What is cut off, in bytes: some events of every task that is under way, and at most what a second writes.
const CUT: (u64, u64) = (50_000, 200_000);
/// How long readers have for what came last before the cut.
const READ: Duration = Duration::from_millis(200);

/// Kills Redis and cuts the end of its file off, while the tasks under way are read.
struct Cut(Arc<Readers>);

impl Strike for Cut {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        let server = cast.masters[0].running.as_ref().expect("it runs");
        let (_, page) = server.get("/tasks?status=running&limit=50").await;
        for task in page["tasks"].as_array().unwrap() {
            self.0.follow(cast.master_urls(), task["task_id"].as_str().unwrap().to_owned());
        }
        tokio::time::sleep(READ).await;
        let mut injury = injury("Redis lost the end of its file");
        cast.redis.kill();
        self.0.cut();
        cast.redis.cut_end(dice.between(CUT.0, CUT.1).as_millis().try_into().unwrap());
        cast.redis.restart();
        injury.over_ms = now_ms();
        cast.until_joined().await;
        injury
    }
}

#[tokio::test]
async fn of_a_file_that_is_synced_every_second() {
    let redis = Wanted::default().durable().line("appendfsync everysec");
    let play = Play::new("Redis loses the end of its file, AOF everysec", long()).redis(redis);
    let readers = Arc::new(Readers::default());
    through(play, Cut(readers.clone())).await.sound();
    let (told, compared) = (readers.told.load(Ordering::SeqCst), readers.compared.load(Ordering::SeqCst));
    eprintln!("{told} readers were told of a cut, {compared} held what they had against the log");
    assert_eq!(*readers.wrong.lock(), Vec::<String>::new());
    assert!(compared > 0, "nobody read anything");
}
