//! The way into the runtime, and the threads that actors live on. It starts and joins threads; what runs on them is
//! the supervisor's business.

use std::io;

/// Runs a future as the program's main one, with a runtime for actors on this thread.
pub fn run<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let system = actix_rt::System::with_tokio_rt(|| runtime);
    let output = system.block_on(future);
    // Tells the actor threads that are left; whoever started one joins it.
    actix_rt::System::current().stop();
    system.run()?;
    Ok(output)
}

/// On which thread an actor lives.
#[derive(Debug, Clone, Default)]
pub enum Place {
    /// On the thread that starts it.
    #[default]
    Here,
    /// On a thread of [`ActorThread`].
    Thread(ThreadHandle),
}

/// Names an actor thread.
#[derive(Debug, Clone)]
pub struct ThreadHandle(actix_rt::ArbiterHandle);

/// A thread of its own for actors, for what must not slow the others down. Started from inside [`run`].
#[derive(Debug)]
pub struct ActorThread {
    arbiter: actix_rt::Arbiter,
}

impl ActorThread {
    /// Starts it.
    pub fn start() -> io::Result<Self> {
        Ok(Self { arbiter: actix_rt::Arbiter::try_new()? })
    }

    /// As a place for actors.
    pub fn place(&self) -> Place {
        Place::Thread(ThreadHandle(self.arbiter.handle()))
    }

    /// Ends it with everything on it, and waits for that. Stop its actors first: this is not a drain.
    pub fn join(self) {
        self.arbiter.stop();
        if self.arbiter.join().is_err() {
            tracing::error!("an actor thread panicked");
        }
    }
}

impl Place {
    /// Calls a function there, or drops it when there is no such thread any more.
    pub(super) fn run(&self, call: impl FnOnce() + Send + 'static) {
        match self {
            Self::Here => call(),
            Self::Thread(ThreadHandle(arbiter)) => {
                arbiter.spawn_fn(call);
            }
        }
    }
}
