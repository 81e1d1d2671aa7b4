//! The scripts that the server runs, each of which is one step that nobody sees half done. They are named by their hash;
//! a server that does not know one, because it started anew, is given its text once more.

use deadpool_redis::redis::{Arg, Cmd, Script as Hashed, ToRedisArgs, cmd};
use std::sync::OnceLock;

/// A script's text with its hash.
pub(super) struct Script {
    text: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new() }
    }

    fn hash(&self) -> &str {
        self.hash.get_or_init(|| Hashed::new(self.text).get_hash().to_owned())
    }
}

macro_rules! scripts {
    ($($name:ident = $($part:literal)+;)+) => {
        $(pub(super) static $name: Script = Script::new(concat!($(include_str!(concat!("scripts/", $part, ".lua"))),+));)+
    };
}

scripts! {
    COMMIT = "prelude" "write_task" "commit";
    EVENTS = "prelude" "events";
    LIST = "prelude" "list";
    CLAIM = "prelude" "claim";
    RENEW = "prelude" "renew";
    EXPIRE_LEASES = "prelude" "expire_leases";
    DROP_STRAY = "prelude" "drop_stray";
    PUT_AGENT = "prelude" "roster" "put_agent";
    REMOVE_AGENT = "prelude" "roster" "remove_agent";
    AGENTS = "prelude" "roster" "agents";
    FOREIGN_BEATS = "prelude" "foreign_beats";
    SET_CONTEXT = "prelude" "set_context";
    APPEND_TRACE = "prelude" "append_trace";
    SET_BUDGET = "prelude" "amounts" "ledger" "set_budget";
    RESERVE = "prelude" "amounts" "ledger" "reserve";
    SETTLE = "prelude" "amounts" "ledger" "settle";
    BALANCE = "prelude" "amounts" "ledger" "balance";
    COUNT_FINISHED = "prelude" "count_finished" "count";
    REMOVE_FINISHED = "prelude" "count_finished" "remove_finished";
    EXPORT = "prelude" "export";
    IMPORT_TASK = "prelude" "write_task" "import_task";
    IMPORT_VALUE = "prelude" "amounts" "ledger" "import_value";
    CHECK = "prelude" "check";
}

/// A script with what it is given.
pub(super) struct Call {
    script: &'static Script,
    command: Cmd,
}

impl Call {
    /// Without its arguments; each script goes by a prefix and a moment, which may be the server's own.
    pub fn new(script: &'static Script, prefix: &str, now: Option<u64>) -> Self {
        let mut command = cmd("EVALSHA");
        command.arg(script.hash()).arg(0).arg(prefix);
        match now {
            Some(now) => command.arg(now),
            None => command.arg(""),
        };
        Self { script, command }
    }

    /// One argument more.
    #[must_use]
    pub fn arg(mut self, value: impl ToRedisArgs) -> Self {
        self.command.arg(value);
        self
    }

    /// Some more, and before them how many there are.
    #[must_use]
    pub fn each<T>(mut self, values: impl ExactSizeIterator<Item = T>, put: impl Fn(Self, T) -> Self) -> Self {
        self = self.arg(values.len());
        values.fold(self, put)
    }

    /// What is sent.
    pub fn command(&self) -> &Cmd {
        &self.command
    }

    /// The same with the script's text.
    pub fn with_text(&self) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(self.script.text);
        for arg in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                command.arg(bytes);
            }
        }
        command
    }
}
