//! Readers of event streams, as patient users would be: each comes back with the last id that it has, to whichever master
//! answers, and holds what it was told against the whole log once its task has ended.

use crate::backstage::backstage;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What one waits before it comes back.
const PAUSE: Duration = Duration::from_millis(20);

/// What all readers have found.
#[derive(Debug, Default)]
pub struct Readers {
    /// How often one was told that what it had seen is not in the log any more.
    pub told: AtomicUsize,
    /// How many have held their log against the whole.
    pub compared: AtomicUsize,
    /// Views that are not the log.
    pub wrong: Mutex<Vec<String>>,
    /// Counts the moments at which logs may have been cut.
    cuts: AtomicUsize,
}

impl Readers {
    /// Logs are cut now.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Follows a task, until it has ended or is gone.
    pub fn follow(self: &Arc<Self>, masters: Vec<String>, id: String) {
        let readers = self.clone();
        backstage().spawn(async move { readers.see_through(&masters, &id).await });
    }

    async fn see_through(&self, masters: &[String], id: &str) {
        let http = reqwest::Client::new();
        let (mut view, mut last) = (Vec::new(), String::new());
        // An end may be cut off, too, of which a stream that is over tells nobody.
        let mut cuts = 0;
        for master in masters.iter().cycle() {
            cuts = self.cuts.load(Ordering::SeqCst);
            let request = http.get(format!("{master}/task/{id}/events")).header("last-event-id", &last);
            match self.read(request, &mut view, &mut last).await {
                Some(404) => return,
                Some(200) if view.last().is_some_and(|event| is_end(event)) => break,
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        let (mut whole, mut anew) = (Vec::new(), String::new());
        let request = http.get(format!("{}/task/{id}/events", masters[0]));
        let status = self.read(request, &mut whole, &mut anew).await;
        if status == Some(200) && self.cuts.load(Ordering::SeqCst) == cuts {
            self.compared.fetch_add(1, Ordering::SeqCst);
            if view != whole {
                self.wrong.lock().push(format!(
                    "{id}: was told\n  {}\nand the log is\n  {}",
                    view.join("\n  "),
                    whole.join("\n  ")
                ));
            }
        }
    }

    /// Reads one connection to its end; gives its status, if there was an answer.
    async fn read(&self, request: reqwest::RequestBuilder, view: &mut Vec<String>, last: &mut String) -> Option<u16> {
        let mut response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let mut text = String::new();
        while let Ok(Some(piece)) = response.chunk().await {
            text.push_str(&String::from_utf8_lossy(&piece));
            while let Some((block, rest)) = text.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(id), Some(event)) = (field("id: "), field("event: ")) {
                    last.clone_from(&id);
                    if event == "log_truncated" {
                        self.told.fetch_add(1, Ordering::SeqCst);
                        view.clear();
                    } else {
                        view.push(format!("{id} {event}"));
                    }
                }
                text = rest.to_owned();
            }
        }
        Some(status)
    }
}

fn is_end(event: &str) -> bool {
    ["task_succeeded", "task_failed", "task_cancelled"].iter().any(|end| event.ends_with(end))
}
