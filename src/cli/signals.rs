//! Ctrl-C and SIGTERM, from before anything starts. The first asks for an end in order; what a second one does is the
//! command's choice, and [`Signal::exit_at_once`] is there for it.

use super::exit::Exit;
use super::output::note;
use tokio::signal::unix::{self, SignalKind, signal};

/// Which signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
}

/// Listens to both for as long as the process lives.
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Starts listening, from inside a runtime. From here on neither ends the process by itself.
    pub fn listen() -> Result<Self, Exit> {
        let listen = |kind| signal(kind).map_err(|error| Exit::internal(format!("signals cannot be heard: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// Listens to SIGHUP, by which operators ask for files to be read again. Only where that is done: elsewhere it ends the
/// process, as it does for every program whose terminal is gone.
pub struct Hangups(unix::Signal);

impl Hangups {
    /// Starts listening.
    pub fn listen() -> Result<Self, Exit> {
        let heard = signal(SignalKind::hangup());
        heard.map(Self).map_err(|error| Exit::internal(format!("signals cannot be heard: {error}")))
    }

    /// The next one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

impl Signal {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The code that shells give to a process that a signal ended.
    fn code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// Ends the process without a word to anybody. What was accepted is in the store, and leases bring the rest back.
    pub fn exit_at_once(self) -> ! {
        note(&format!("{}: ending at once", self.name()));
        #[expect(clippy::disallowed_methods, reason = "the user has asked twice, and a drain is what they do not want")]
        std::process::exit(self.code())
    }
}
