//! Somebody else undoes what the operator writes. What is undone again and again is put back less and less often, and told:
//! two that write the same field must not do so for ever as fast as they can.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{desired::Wanted, kind::Kind, world::Key};

/// Writes in a row for one wish that are made at once: people who try things do not get there.
const AT_ONCE: u32 = 10;
/// The first wait; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// So long after the moment for another write that was not needed it is over.
const CALM: Duration = Duration::from_secs(15);

/// An object that somebody else keeps changing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contested {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The field manager that changed it last, where the object tells.
    pub by: Option<String>,
    /// When it is to be looked at again.
    pub again: Duration,
}

/// The writes of an object for one wish.
struct Writes {
    wish: String,
    count: u32,
    last: Instant,
    by: Option<String>,
}

impl Writes {
    /// How long after the last write the next one is made.
    fn wait(&self) -> Duration {
        match self.count.checked_sub(AT_ONCE) {
            None => Duration::ZERO,
            Some(further) => FIRST_WAIT.saturating_mul(1 << further.min(5)).min(LONGEST_WAIT),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.last + self.wait() + CALM
    }

    /// The next moment at which something is to be done about it.
    fn again(&self, now: Instant) -> Duration {
        let moments = [self.last + self.wait(), self.last + self.wait() + CALM];
        moments.into_iter().filter(|moment| *moment > now).min().map_or(Duration::ZERO, |moment| moment - now)
    }
}

/// The writes of an instance's objects.
type Objects = BTreeMap<(Kind, String), Writes>;

/// The writes of all instances' objects. Forgotten when the operator stops: it finds out again within seconds.
#[derive(Default)]
pub struct Contests {
    instances: Mutex<HashMap<Key, Objects>>,
    swept: Mutex<Option<Instant>>,
}

impl Contests {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Objects>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Must the object stay as others made it for now?
    pub fn holds_back(&self, key: &Key, wish: &Wanted, now: Instant) -> bool {
        let instances = self.lock();
        let writes = instances.get(key).and_then(|writes| writes.get(&(wish.kind, wish.name.clone())));
        // The digest last: it takes longer than all the rest, and is asked for at each pass.
        writes.is_some_and(|writes| now < writes.last + writes.wait() && writes.wish == wish.digest())
    }

    /// Forgets what is over, now and then: after a burst of new instances nobody passes over them again.
    fn sweep(&self, instances: &mut HashMap<Key, Objects>, now: Instant) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_some_and(|at| now < at + CALM) {
            return;
        }
        *swept = Some(now);
        for objects in instances.values_mut() {
            objects.retain(|_, writes| !writes.is_over(now));
        }
        instances.retain(|_, objects| !objects.is_empty());
    }

    /// Takes in a write, and whose change it undid. Another wish begins anew: it is the operator that changes its mind then.
    pub fn wrote(&self, key: &Key, wish: &Wanted, by: Option<String>, now: Instant) {
        let mut instances = self.lock();
        self.sweep(&mut instances, now);
        let (objects, id, digest) = (instances.entry(key.clone()).or_default(), (wish.kind, wish.name.clone()), wish.digest());
        let before = objects.remove(&id).filter(|writes| writes.wish == digest && !writes.is_over(now));
        let count = before.map_or(0, |writes| writes.count) + 1;
        objects.insert(id, Writes { wish: digest, count, last: now, by });
    }

    /// The contested objects of an instance. What is over is forgotten.
    pub fn of(&self, key: &Key, now: Instant) -> Vec<Contested> {
        let mut instances = self.lock();
        let Some(objects) = instances.get_mut(key) else { return Vec::new() };
        objects.retain(|_, writes| !writes.is_over(now));
        let contested = objects.iter().filter(|(_, writes)| !writes.wait().is_zero());
        contested
            .map(|((kind, name), writes)| Contested { kind: *kind, name: name.clone(), by: writes.by.clone(), again: writes.again(now) })
            .collect()
    }

    /// Forgets an instance.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::desired::{desired, fixture};

    fn key() -> Key {
        Key { namespace: "ns".into(), name: "play".into() }
    }

    fn wish() -> Wanted {
        desired(&fixture::plain()).remove(0)
    }

    #[test]
    fn a_burst_is_forgotten_at_the_next_write_after_it() {
        let (contests, began) = (Contests::default(), Instant::now());
        contests.wrote(&key(), &wish(), None, began);
        let other = Key { name: "other".into(), ..key() };
        contests.wrote(&other, &wish(), None, began + CALM);
        assert_eq!(contests.lock().keys().collect::<Vec<_>>(), [&other]);
    }

    /// Somebody undoes each write at once, for so long. Returns when there were writes, in seconds.
    fn fight(contests: &Contests, from: Instant, seconds: u64) -> Vec<u64> {
        let wish = wish();
        let moments = (0..seconds).filter(|second| {
            let now = from + Duration::from_secs(*second);
            let free = !contests.holds_back(&key(), &wish, now);
            if free {
                contests.wrote(&key(), &wish, Some("rival".into()), now);
            }
            free
        });
        moments.collect()
    }

    #[test]
    fn what_is_undone_again_and_again_is_put_back_less_and_less_often() {
        let (contests, begun) = (Contests::default(), Instant::now());
        assert_eq!(fight(&contests, begun, 10).len(), 10, "what people undo is put back at once");
        assert_eq!(contests.of(&key(), begun + Duration::from_secs(9)).len(), 1);
        let later = fight(&contests, begun + Duration::from_secs(10), 3600);
        assert_eq!(later[..4], [9, 29, 69, 149], "each wait is twice as long as the one before");
        assert!(later.windows(2).skip(5).all(|pair| pair[1] - pair[0] == 300), "and never longer than five minutes: {later:?}");
    }

    #[test]
    fn it_is_over_when_the_other_one_stops() {
        let (contests, begun) = (Contests::default(), Instant::now());
        fight(&contests, begun, 10);
        let last = begun + Duration::from_secs(9);
        let told = contests.of(&key(), last);
        assert_eq!(told[0].by.as_deref(), Some("rival"));
        assert_eq!(told[0].again, FIRST_WAIT, "it is looked at again when the next write is due");
        assert_eq!(contests.of(&key(), last + FIRST_WAIT)[0].again, CALM, "and when it may be over");
        assert!(contests.of(&key(), last + FIRST_WAIT + CALM).is_empty());
        assert!(!contests.holds_back(&key(), &wish(), last + FIRST_WAIT));
    }

    #[test]
    fn a_change_of_the_resource_is_written_at_once() {
        let (contests, now) = (Contests::default(), Instant::now());
        fight(&contests, now, 10);
        let mut changed = wish();
        changed.object["metadata"]["labels"]["team"] = serde_json::json!("health");
        assert!(contests.holds_back(&key(), &wish(), now) && !contests.holds_back(&key(), &changed, now));
        contests.wrote(&key(), &changed, None, now);
        assert!(contests.of(&key(), now).is_empty());
    }
}
