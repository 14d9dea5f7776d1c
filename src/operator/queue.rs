//! Which instance is looked at next: in turn the one that came last and the one that has waited longest. A new instance amid a thousand
//! others is seen to at once, and nobody waits for ever.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, stream};
use tokio::sync::Notify;

use super::world::Key;

/// So many lie ready beside those that are looked at: no pass waits for the next one to be found.
const READY: usize = 2;

/// Instances that need a pass.
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
    room: usize,
}

#[derive(Default)]
struct State {
    /// By when they asked.
    waiting: BTreeMap<u64, Key>,
    /// The same by when they asked for the first time ever: work on one instance makes it ask again and again, and must not make others wait.
    arrived: BTreeMap<u64, Key>,
    /// When each that waits asked.
    places: HashMap<Key, u64>,
    /// When each asked for the first time ever.
    known: HashMap<Key, u64>,
    /// Handed out, and not done yet.
    out: HashSet<Key>,
    asked: u64,
    newest: bool,
}

impl State {
    /// It waits no longer.
    fn leave(&mut self, key: &Key) {
        if let Some(place) = self.places.remove(key) {
            self.waiting.remove(&place);
        }
        if let Some(first) = self.known.get(key) {
            self.arrived.remove(first);
        }
    }
}

impl Queue {
    /// A queue for so many passes at a time.
    pub fn new(concurrency: u16) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), room: usize::from(concurrency) + READY }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This instance needs a pass. One that waits already keeps its place.
    pub fn ask(&self, key: Key) {
        let mut state = self.lock();
        if !state.places.contains_key(&key) {
            state.asked += 1;
            let place = state.asked;
            let first = *state.known.entry(key.clone()).or_insert(place);
            state.waiting.insert(place, key.clone());
            state.arrived.insert(first, key.clone());
            state.places.insert(key, place);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// This instance is gone: one of the same name is a new one.
    pub fn forget(&self, key: &Key) {
        let mut state = self.lock();
        state.leave(key);
        state.known.remove(key);
    }

    /// A pass over this instance is over.
    pub fn done(&self, key: &Key) {
        self.lock().out.remove(key);
        self.changed.notify_one();
    }

    /// The next instance, unless enough are under way. One that is under way is not handed out a second time.
    fn take(&self) -> Option<Key> {
        let mut state = self.lock();
        if state.out.len() >= self.room {
            return None;
        }
        let free = |key: &&Key| !state.out.contains(*key);
        let next = if state.newest { state.arrived.values().rev().find(free) } else { state.waiting.values().find(free) };
        let key = next?.clone();
        state.newest = !state.newest;
        state.leave(&key);
        state.out.insert(key.clone());
        Some(key)
    }

    /// All that is to be done, as there is room for it. There is one who takes.
    pub fn stream(self: Arc<Self>) -> impl Stream<Item = Key> {
        stream::unfold(self, async |queue| {
            loop {
                if let Some(key) = queue.take() {
                    return Some((key, queue));
                }
                queue.changed.notified().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};
    use std::pin::pin;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".into(), name: name.into() }
    }

    fn asked(names: &[&str]) -> Queue {
        let queue = Queue::new(1);
        for name in names {
            queue.ask(key(name));
        }
        queue
    }

    #[test]
    fn who_came_last_and_who_waited_longest_take_turns() {
        let queue = asked(&["a", "b", "c", "d"]);
        let next = || {
            let key = queue.take()?;
            queue.done(&key);
            Some(key.name)
        };
        assert_eq!([next(), next()].map(Option::unwrap), ["a", "d"]);
        queue.ask(key("new"));
        assert_eq!([next(), next(), next()].map(Option::unwrap), ["b", "new", "c"]);
        assert_eq!(next(), None);
    }

    #[test]
    fn a_new_instance_does_not_wait_for_others_that_ask_again() {
        let queue = asked(&["a", "b", "c", "new"]);
        let oldest = queue.take().unwrap();
        assert_eq!(queue.take(), Some(key("new")));
        queue.done(&key("new"));
        queue.ask(key("new"));
        queue.done(&oldest);
        queue.ask(oldest);
        assert_eq!([queue.take(), queue.take()].map(|key| key.unwrap().name), ["b", "new"]);
    }

    #[test]
    fn what_is_gone_is_not_looked_at_and_comes_back_as_a_new_one() {
        let queue = asked(&["a", "b"]);
        queue.forget(&key("a"));
        queue.ask(key("a"));
        assert_eq!([queue.take(), queue.take()].map(|key| key.unwrap().name), ["b", "a"]);
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn nobody_is_handed_out_twice_at_a_time_and_no_plea_is_lost() {
        let queue = asked(&["a"]);
        let first = queue.take().unwrap();
        queue.ask(key("a"));
        queue.ask(key("a"));
        assert_eq!(queue.take(), None);
        queue.done(&first);
        assert_eq!(queue.take(), Some(key("a")));
        queue.done(&first);
        assert_eq!(queue.take(), None);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_goes_on_when_there_is_some() {
        let queue = Arc::new(asked(&["a", "b", "c", "d"]));
        let mut stream = pin!(queue.clone().stream());
        for name in ["a", "d", "b"] {
            assert_eq!(stream.next().await, Some(key(name)));
        }
        assert_eq!(stream.next().now_or_never(), None);
        queue.done(&key("b"));
        assert_eq!(stream.next().await, Some(key("c")));
        queue.done(&key("c"));
        assert_eq!(stream.next().now_or_never(), None);
        queue.ask(key("e"));
        assert_eq!(stream.next().now_or_never(), Some(Some(key("e"))));
    }
}
