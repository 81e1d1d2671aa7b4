//! The actors and what holds them up; the only room that names actix types. It knows who runs where and what to do when
//! one fails, and never what a task is.
//!
//! | file | what it holds |
//! |---|---|
//! | `behaviour` | how to write an actor: `Behaviour`, `Handle`, `Turn` |
//! | `actor_ref` | how to send to one: `ActorRef`, `Reply` |
//! | `supervise` | how one is run and started over: `Spec`, `supervise`, `Address` |
//! | `restart` | when it may start over: window, back-off |
//! | `tasks` | named futures that are no actors: `spawn_task`, `TaskSet` |
//! | `tree` | who there is: `Tree`, `Node`, and the way of a failure up to the process |
//! | `status` | what a node knows of itself, in atomics |
//! | `watchdog` | who is stuck |
//! | `run` | the way into the runtime, and its threads |
//! | `master` | takes tasks and advances them |
//! | `dispatcher` | sees to it that what is due happens |
//! | `registry` | knows who is alive |
//! | `agent` | keeps an agent's slots and runs its steps |
//! | `gateway` | calls the models |
//! | `directory` | where each agent is reached |
//! | `proxy` | stands for an actor in another process |
//! | `patience` | how long they wait for the store |
//! | `vigil` | when silence means death |

mod actor_ref;
mod agent;
mod behaviour;
mod directory;
mod dispatcher;
mod gateway;
mod master;
mod patience;
mod proxy;
mod registry;
mod restart;
mod run;
mod status;
mod supervise;
mod tasks;
mod tree;
mod vigil;
mod watchdog;

pub use actor_ref::{ActorRef, Reply};
pub use agent::{AgentActor, AgentParts, Duties};
pub use behaviour::{Behaviour, Handle, Turn};
pub use directory::{AgentLines, Connect, Directory, FarLines};
pub use dispatcher::{Dispatcher, DispatcherParts};
pub use gateway::{Gateway, GatewayParts};
pub use master::{Master, MasterOptions, MasterParts};
pub use proxy::Proxy;
pub use registry::{Registry, RegistryParts, Roster, RosterEntry};
pub use restart::{BackOff, Policy, Restarts};
pub use run::{ActorThread, Place, ThreadHandle, run};
pub use status::{Bounds, LastFailure, NodeState};
pub use supervise::{Address, Spec, supervise};
pub use tasks::{AbortHandle, TaskEnd, TaskHandle, TaskSet, spawn_task};
pub use tree::{ChildDown, InFlight, Node, NodeView, Root, Tree};
pub use watchdog::{FrozenExit, Watchdog, WatchdogOptions};

#[cfg(test)]
mod tests;
