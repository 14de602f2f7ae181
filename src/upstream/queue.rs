//! Requests that wait for a server: first come, first served, or with `fairness` round robin over the values
//! of a header field. Sans-IO.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// The maximum number of lanes with a value. Further values share one lane.
const MAX_LANES: usize = 1000;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Waiting requests, each with a value `T`.
#[derive(Debug)]
pub struct Queue<T> {
    last: u64,
    waiting: BTreeMap<Ticket, (Lane, T)>,
    /// The waiting requests of each lane.
    lanes: HashMap<Lane, VecDeque<Ticket>>,
    /// The lanes with waiting requests, in the order of their turns.
    turns: VecDeque<Lane>,
}

/// A value of the fairness field. `None` is the lane for requests without a value and for values beyond
/// [`MAX_LANES`].
type Lane = Option<Box<[u8]>>;

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { last: 0, waiting: BTreeMap::new(), lanes: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends a request to its lane.
    pub fn push(&mut self, lane: Option<&[u8]>, waiter: T) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let mut lane: Lane = lane.map(Into::into);
        if !self.lanes.contains_key(&lane) && self.lanes.len() >= MAX_LANES {
            lane = None;
        }
        let tickets = self.lanes.entry(lane.clone()).or_insert_with(|| {
            self.turns.push_back(lane.clone());
            VecDeque::new()
        });
        tickets.push_back(ticket);
        self.waiting.insert(ticket, (lane, waiter));
        ticket
    }

    /// Removes a request from the queue.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let (lane, waiter) = self.waiting.remove(&ticket)?;
        if let Some(tickets) = self.lanes.get_mut(&lane) {
            tickets.retain(|other| *other != ticket);
            if tickets.is_empty() {
                self.lanes.remove(&lane);
                self.turns.retain(|other| *other != lane);
            }
        }
        Some(waiter)
    }

    /// Takes the first request, in the order of turns, for which `can_go` holds. Skipped requests keep their
    /// places.
    pub fn take(&mut self, mut can_go: impl FnMut(&T) -> bool) -> Option<T> {
        for _ in 0..self.turns.len() {
            let lane = self.turns.front()?.clone();
            let found = self.lanes.get(&lane).and_then(|tickets| {
                tickets
                    .iter()
                    .copied()
                    .find(|ticket| self.waiting.get(ticket).is_some_and(|(_, w)| can_go(w)))
            });
            // The turn passes to the next lane, whether or not this one had a request that can go.
            self.turns.rotate_left(1);
            if let Some(ticket) = found {
                return self.remove(ticket);
            }
        }
        None
    }

    /// The number of requests served before this one, if all lanes are served at the same rate.
    pub fn ahead(&self, ticket: Ticket) -> usize {
        let Some((lane, _)) = self.waiting.get(&ticket) else { return 0 };
        if self.lanes.len() < 2 {
            return self.waiting.range(..ticket).count();
        }
        let Some(own) = self.lanes.get(lane) else { return 0 };
        let place = own.iter().take_while(|other| **other != ticket).count();
        let others = self.lanes.iter().filter(|(other, _)| *other != lane);
        place + others.map(|(_, tickets)| tickets.len().min(place + 1)).sum::<usize>()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.values().map(|(_, waiter)| waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.take(|_| true)).collect()
    }

    #[test]
    fn first_come_first_served() {
        let mut queue = Queue::default();
        let tickets = ["a", "b", "c", "d"].map(|waiter| queue.push(None, waiter));
        assert_eq!(tickets.map(|ticket| queue.ahead(ticket)), [0, 1, 2, 3]);
        assert_eq!(queue.remove(tickets[1]), Some("b"));
        assert_eq!(queue.ahead(tickets[3]), 2);
        assert_eq!(all(&mut queue), ["a", "c", "d"]);
        assert!(queue.is_empty() && queue.remove(tickets[1]).is_none());
    }

    #[test]
    fn lanes_take_turns_whatever_their_length() {
        let mut queue = Queue::default();
        let mut push = |lane: &[u8], waiter| queue.push(Some(lane), waiter);
        for waiter in ["a1", "a2", "a3", "a4"] {
            push(b"a", waiter);
        }
        let b = [push(b"b", "b1"), push(b"b", "b2")];
        assert_eq!(b.map(|ticket| queue.ahead(ticket)), [1, 3]);
        assert_eq!(all(&mut queue), ["a1", "b1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn skipped_requests_keep_their_places() {
        let mut queue = Queue::default();
        for waiter in ["a", "b", "c"] {
            queue.push(None, waiter);
        }
        assert_eq!(queue.take(|waiter| *waiter != "a"), Some("b"));
        assert_eq!(queue.take(|waiter| *waiter == "x"), None);
        assert_eq!(all(&mut queue), ["a", "c"]);
    }

    #[test]
    fn values_beyond_the_limit_share_a_lane() {
        let mut queue = Queue::default();
        for value in 0..2 * MAX_LANES {
            queue.push(Some(&value.to_le_bytes()), "x");
        }
        assert_eq!(queue.len(), 2 * MAX_LANES);
        assert!(queue.lanes.len() <= MAX_LANES + 1);
        assert_eq!(all(&mut queue).len(), 2 * MAX_LANES);
        assert!(queue.lanes.is_empty() && queue.turns.is_empty());
    }
}
