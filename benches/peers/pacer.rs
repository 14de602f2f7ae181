//! Paced streams: all streams with the same gap share a timer, and each event is one system call.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::event::Events;

/// Writes to the streams of one gap, spread evenly over its milliseconds, while `turn` is set.
pub struct Pacer {
    slots: RefCell<Vec<Vec<PacedStream>>>,
    next: RefCell<usize>,
}

struct PacedStream {
    tcp: Rc<TcpStream>,
    events: Events,
}

impl Pacer {
    /// `gap`: ms between two events of a stream.
    pub fn start(gap: u64, turn: watch::Receiver<bool>) -> Rc<Self> {
        let slots = (0..gap).map(|_| Vec::new()).collect();
        let pacer = Rc::new(Self { slots: RefCell::new(slots), next: RefCell::new(0) });
        let running = pacer.clone();
        tokio::task::spawn_local(async move { running.run(turn).await });
        pacer
    }

    pub fn add(&self, tcp: Rc<TcpStream>, events: Events) {
        let mut slots = self.slots.borrow_mut();
        let mut next = self.next.borrow_mut();
        *next = (*next + 1) % slots.len();
        slots[*next].push(PacedStream { tcp, events });
    }

    pub fn remove(&self, tcp: &Rc<TcpStream>) {
        for slot in self.slots.borrow_mut().iter_mut() {
            slot.retain(|stream| !Rc::ptr_eq(&stream.tcp, tcp));
        }
    }

    async fn run(&self, mut turn: watch::Receiver<bool>) {
        let mut slot = 0;
        // Idle between turns. A turn does not catch up on earlier events.
        while turn.wait_for(|is_ours| *is_ours).await.is_ok() {
            let mut ticks = interval(Duration::from_millis(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while *turn.borrow() {
                ticks.tick().await;
                self.send(slot);
                slot = (slot + 1) % self.slots.borrow().len();
            }
        }
    }

    fn send(&self, slot: usize) {
        for stream in &mut self.slots.borrow_mut()[slot] {
            // A client that does not keep up misses events. A disconnected one is removed soon.
            let _ = stream.tcp.try_write(stream.events.stamped());
        }
    }
}
