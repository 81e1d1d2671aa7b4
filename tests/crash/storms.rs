//! A hundred workers that join at once, live for a while and leave at once, beside those who work.

use crate::backstage::backstage;
use crate::cast::{Cast, Play};
use crate::load::now_ms;
use crate::rounds::{Dice, Strike, injury, long, through};
use crate::verdict::Injury;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// How many come.
const CROWD: usize = 100;
/// How often each of them says that it lives.
const BEATS: usize = 3;

/// Lets a crowd join the masters, each of them another master's.
struct Storm;

impl Strike for Storm {
    async fn strike(&mut self, cast: &mut Cast, _: &mut Dice) -> Injury {
        let mut injury = injury(format!("{CROWD} workers come and go"));
        let masters = cast.master_urls();
        let places: Vec<String> = (0..CROWD).map(|_| somewhere()).collect();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        let declared = |number: usize, place: &str| {
            json!({"agent_id": format!("one-of-the-crowd-{number}"), "url": place, "capabilities": ["paint"],
                "ag2_profile": "painter", "incarnation": "i-1", "slots": 4})
        };
        let send = async |path: &str, bodies: Vec<Value>| {
            let all = bodies.iter().enumerate().map(|(number, body)| {
                http.post(format!("{}{path}", masters[number % masters.len()])).json(body).send()
            });
            for response in join_all(all).await {
                let status = response.unwrap().status();
                assert!(status.is_success(), "{path}: {status}");
            }
        };
        send("/register", places.iter().enumerate().map(|(number, place)| declared(number, place)).collect()).await;
        cast.until_agents(CROWD).await;
        for _ in 0..BEATS {
            let beat = |number| json!({"agent_id": format!("one-of-the-crowd-{number}"), "incarnation": "i-1", "load": 0.0, "steps": []});
            send("/heartbeat", (0..CROWD).map(beat).collect()).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let leave = (0..CROWD).map(|number| {
            http.delete(format!("{}/register/one-of-the-crowd-{number}", masters[number % masters.len()])).send()
        });
        join_all(leave).await;
        cast.until_agents(0).await;
        injury.over_ms = now_ms();
        injury
    }
}

/// A place where somebody listens, and says nothing.
fn somewhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    backstage().spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((mut stream, _)) = listener.accept().await {
            backstage().spawn(async move {
                let mut heard = [0; 1024];
                while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    url
}

#[tokio::test]
async fn a_hundred_workers_at_once() {
    through(Play::new("100 workers come and go at once", long()), Storm).await.clean();
}
