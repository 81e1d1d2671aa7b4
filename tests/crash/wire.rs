//! What stands between two processes and can be disturbed: a proxy for bytes that passes them on, holds them back, lets
//! connections hang or breaks them.

use crate::backstage::backstage;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a wire is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Condition {
    /// It passes everything on.
    Whole,
    /// Everything arrives so much later.
    Slow(Duration),
    /// As with lost packets: of the pieces that pass, this share waits for a second transmission.
    Lossy(f64),
    /// Connections break off, and new ones are refused with a reset.
    Cut,
    /// Nothing passes, and nobody is told: connections stay open, new ones open, too.
    Dead,
    /// Each piece that passes breaks its connection off with this probability.
    Breaking(f64),
}

/// How long a lost packet is missed: the least time-out for retransmission of the usual systems.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// A wire to a port.
pub struct Wire {
    pub port: u16,
    condition: watch::Sender<Condition>,
    target: Arc<watch::Sender<u16>>,
}

impl Wire {
    /// Leads to a port of this machine.
    pub fn to(target: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let (condition, conditions) = watch::channel(Condition::Whole);
        let target = Arc::new(watch::Sender::new(target));
        backstage().spawn(listen(listener, target.subscribe(), conditions));
        Self { port, condition, target }
    }

    /// Puts it into a condition.
    pub fn set(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }

    /// Leads elsewhere from now on; what passes now breaks off.
    pub fn lead_to(&self, target: u16) {
        self.target.send_replace(target);
        let before = self.condition.send_replace(Condition::Cut);
        self.condition.send_replace(before);
    }
}

async fn listen(listener: std::net::TcpListener, target: watch::Receiver<u16>, conditions: watch::Receiver<Condition>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((near, _)) = listener.accept().await {
        backstage().spawn(connect(near, *target.borrow(), conditions.clone()));
    }
}

async fn connect(near: TcpStream, target: u16, mut conditions: watch::Receiver<Condition>) {
    if conditions.wait_for(|condition| *condition != Condition::Dead).await.is_err() {
        return;
    }
    if *conditions.borrow() == Condition::Cut {
        return reset(&near);
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return reset(&near) };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    // Changes are seen from here on, so that a cut between two looks is not missed.
    conditions.mark_unchanged();
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let there = pass(near_in, far_out, conditions.clone());
    let back = pass(far_in, near_out, conditions.clone());
    tokio::select! {
        () = async { tokio::join!(there, back); } => {}
        () = until_broken(conditions) => {}
    }
}

/// Ends when the connection is to break off.
async fn until_broken(mut conditions: watch::Receiver<Condition>) {
    while conditions.changed().await.is_ok() {
        if *conditions.borrow_and_update() == Condition::Cut {
            return;
        }
    }
}

/// Ends a connection so that the other side sees a reset.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut conditions: watch::Receiver<Condition>) {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let Ok(read) = from.read(&mut piece).await else { return };
        let now = *conditions.borrow_and_update();
        match now {
            Condition::Whole => {}
            Condition::Slow(delay) => tokio::time::sleep(delay).await,
            Condition::Lossy(share) if fastrand::f64() < share => tokio::time::sleep(RETRANSMISSION).await,
            Condition::Lossy(_) => {}
            Condition::Breaking(share) if fastrand::f64() < share => return reset(to.as_ref()),
            Condition::Breaking(_) => {}
            Condition::Cut => return,
            // What was sent meanwhile arrives when the wire is whole again.
            Condition::Dead => {
                if conditions.wait_for(|condition| *condition != Condition::Dead).await.is_err() {
                    return;
                }
            }
        }
        if read == 0 || to.write_all(&piece[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
