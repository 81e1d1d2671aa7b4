//! The three ways, each behind the same few words: start it with these settings, and speak to it over HTTP.

use crate::support::split::{Shape, Split};
use crate::support::{Server, callboard};
use serde_json::{Value, json};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Sqlite,
    Split,
}

impl Kind {
    pub fn memory() -> Self {
        Self::Memory
    }

    pub fn sqlite() -> Self {
        Self::Sqlite
    }

    pub fn split() -> Self {
        Self::Split
    }

    /// Starts it with these settings, and a worker for each of these stages.
    pub async fn start_with(self, stages: &[&'static str], settings: &[(&'static str, &str)]) -> Deployment {
        if self == Self::Split {
            let mut shape = Shape::default().masters(1).guarded().workers(stages);
            for (name, value) in settings {
                shape = shape.setting(name, value);
            }
            return Deployment { one: None, split: Some(shape.start().await), _folder: None };
        }
        let folder = tempfile::tempdir().unwrap();
        let store = match self {
            Self::Memory => "memory:".to_owned(),
            _ => format!("sqlite:{}", folder.path().join("callboard.db").display()),
        };
        let mut command = callboard(&["serve", "--listen", "127.0.0.1:0", "--store", &store]);
        for (name, value) in settings {
            command.env(format!("CALLBOARD_{}", name.to_uppercase()), value);
        }
        Deployment { one: Some(Server::of(command)), split: None, _folder: Some(folder) }
    }

    /// The same with the default team.
    pub async fn start(self, settings: &[(&'static str, &str)]) -> Deployment {
        self.start_with(&crate::support::split::STAGES, settings).await
    }

    /// The same with a model that answers at once, and fails as the script says.
    pub async fn scripted(self, script: &str) -> Deployment {
        self.start(&[("provider", "mock"), ("mock_script", script), ("retry_pause", "10ms")]).await
    }
}

/// What runs.
pub struct Deployment {
    one: Option<Server>,
    split: Option<Split>,
    _folder: Option<tempfile::TempDir>,
}

impl Deployment {
    /// Where it is spoken to.
    pub fn server(&self) -> &Server {
        self.one.as_ref().unwrap_or_else(|| self.split.as_ref().expect("one of them runs").master())
    }

    /// Hands a task in, and gives what is answered.
    pub async fn submit(&self, id: &str, more: Value) -> Value {
        let (status, body) = self.server().post("/task", &with(id, more)).await;
        assert_eq!(status, 202, "{body:#}");
        body
    }

    /// The same with a name of the caller's making.
    pub async fn submit_owned(&self, id: String) -> Value {
        self.submit(&id, json!({})).await
    }

    /// Waits until a task has ended.
    pub async fn ended(&self, id: &str) -> Value {
        self.server().until(&format!("/task/{id}/result"), |status, _| status == 200).await
    }

    /// Hands a task in, and waits until it has ended.
    pub async fn done(&self, id: &str, more: Value) -> Value {
        self.submit(id, more).await;
        self.ended(id).await
    }

    /// Waits until a task's step is where it should be.
    pub async fn step_is(&self, id: &str, capability: &str, status: &str) -> Value {
        self.server().until(&format!("/task/{id}"), |_, body| step(body, capability)["status"] == *status).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.server().get(path).await
    }
}

/// A submission of this id.
pub fn with(id: &str, more: Value) -> Value {
    let mut body = json!({"task_id": id, "objective": "What happens to a task when the process is killed?"});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

/// The step of a whole task for a capability.
pub fn step(task: &Value, capability: &str) -> Value {
    let mut steps = task["steps"].as_array().into_iter().flatten();
    steps.find(|step| step["stage"] == capability).cloned().unwrap_or(Value::Null)
}
