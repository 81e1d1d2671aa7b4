//! What a dispatcher is told.

use super::{Lane, Message};
use crate::task::Capability;

/// Steps wait for a capability, and that many slots for it are free.
#[derive(Debug, Clone)]
pub struct SlotsFree {
    /// The capability.
    pub capability: Capability,
    /// Free slots, at the master's estimate.
    pub free: u32,
}

impl Message for SlotsFree {
    const NAME: &'static str = "slots_free";
    const LANE: Lane = Lane::Control;
    type Reply = ();
}

/// Something has fallen due just now that nobody could foresee: look at once.
#[derive(Debug, Clone, Copy)]
pub struct DueNow;

impl Message for DueNow {
    const NAME: &'static str = "due_now";
    const LANE: Lane = Lane::Control;
    type Reply = ();
}
