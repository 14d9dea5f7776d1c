//! Any history of sets, restore tests, removals, kills and clocks that jump: what is sure stays, and what is to go goes.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::tests::{proof, set, snapshot};
use super::*;

/// What happens in an instance's life.
#[derive(Clone, Debug)]
enum Event {
    /// A backup comes to its end, and its retention keeps so many, or some others that rules may choose.
    BackedUp { last: usize, others: Vec<Index>, killed_after: Option<u8> },
    /// A backup breaks off before its manifest.
    BrokenOff,
    /// A restore test proves a set.
    Proven(Index),
    /// Hours go by.
    Later(u16),
    /// The clock is set, ahead or back, by hours.
    Jump(i32),
    /// What the clock was put ahead by is taken back.
    Corrected,
}

fn event() -> impl Strategy<Value = Event> {
    let backed_up = (1..4_usize, vec(any::<Index>(), 0..3), proptest::option::weighted(0.2, 0..12_u8))
        .prop_map(|(last, others, killed_after)| Event::BackedUp { last, others, killed_after });
    prop_oneof![
        8 => backed_up,
        1 => Just(Event::BrokenOff),
        2 => any::<Index>().prop_map(Event::Proven),
        4 => (1..100_u16).prop_map(Event::Later),
        1 => (-20_000..20_000).prop_map(Event::Jump),
        1 => Just(Event::Corrected),
    ]
}

/// A repository, and what is true of it whatever its snapshots say.
struct World {
    snapshots: Vec<Snapshot>,
    now: Timestamp,
    ahead: SignedDuration,
    /// In the order in which they were proven.
    proven: Vec<String>,
    made: Vec<String>,
    /// Sets that no removal may take, and that one took.
    lost: BTreeSet<String>,
    number: u32,
}

impl World {
    fn time(&self) -> String {
        format!("{:.0}", self.now)
    }

    fn manifests(&self) -> Vec<&Snapshot> {
        self.snapshots.iter().filter(|snapshot| snapshot.is_manifest()).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.manifests().iter().any(|manifest| manifest.set() == Some(name))
    }

    fn moves(&mut self, by: SignedDuration) {
        self.now = self.now.checked_add(by).unwrap();
    }

    /// As restic would: all but the newest, and those that rules of days and weeks choose among the others.
    fn surplus(&self, last: usize, others: &[Index]) -> Vec<String> {
        let mut manifests = self.manifests();
        manifests.sort_by_key(|manifest| std::cmp::Reverse(manifest.time));
        let old: Vec<&str> = manifests.iter().skip(last).map(|manifest| manifest.id.as_str()).collect();
        let chosen: BTreeSet<&str> = others.iter().filter(|_| !old.is_empty()).map(|index| *index.get(&old)).collect();
        old.into_iter().filter(|id| !chosen.contains(id)).map(str::to_owned).collect()
    }

    /// The newest proven set, and what is as young as it or younger; without tests to come, that set alone.
    fn sure(&self, suspended: bool) -> BTreeSet<String> {
        let manifests = || self.manifests().into_iter();
        let proven = manifests().filter(|manifest| self.proven.iter().any(|set| manifest.set() == Some(set)));
        let Some(newest) = proven.map(|manifest| manifest.time).max() else { return BTreeSet::new() };
        let stays = |manifest: &&Snapshot| if suspended { manifest.time == newest } else { manifest.time >= newest };
        manifests().filter(stays).filter_map(|manifest| manifest.set()).map(str::to_owned).collect()
    }

    /// One removal, which is killed after so many snapshots.
    fn retains(&mut self, surplus: &[String], suspended: bool, killed_after: Option<u8>) {
        if are_past(&self.snapshots, self.now).is_err() {
            return;
        }
        let (keep, stays) = (Keep { verify_suspended: suspended, ..Keep::default() }, BTreeSet::new());
        let plan = plan(&self.snapshots, surplus, Rules { keep: &keep, host: "", stays: &stays }, self.now);
        let order = plan.manifests.into_iter().chain(plan.parts);
        let gone: BTreeSet<String> = order.take(killed_after.map_or(usize::MAX, usize::from)).collect();
        let sure = self.sure(suspended);
        self.snapshots.retain(|snapshot| !gone.contains(&snapshot.id));
        self.lost.extend(sure.into_iter().filter(|set| !self.has(set)).collect::<Vec<_>>());
    }

    fn happens(&mut self, event: &Event, suspended: bool) {
        self.number += 1;
        let (name, time) = (format!("set-{}", self.number), self.time());
        match event {
            Event::BackedUp { last, others, killed_after } => {
                self.snapshots.extend(set(&name, &time));
                self.made.push(name);
                let surplus = self.surplus(*last, others);
                self.retains(&surplus, suspended, *killed_after);
            }
            Event::BrokenOff => {
                let tag = format!("set={name}");
                self.snapshots.push(snapshot(&format!("{name}-dump"), &time, &[&tag, "part=dump"]));
            }
            Event::Proven(index) => {
                let there: Vec<String> = self.manifests().iter().filter_map(|manifest| manifest.set()).map(str::to_owned).collect();
                if !there.is_empty() {
                    let chosen = index.get(&there).clone();
                    self.snapshots.push(proof(&chosen, &time));
                    self.proven.push(chosen);
                }
            }
            Event::Later(hours) => self.moves(SignedDuration::from_hours((*hours).into())),
            Event::Jump(hours) => {
                let by = SignedDuration::from_hours((*hours).into());
                self.ahead += by;
                self.moves(by);
            }
            Event::Corrected => {
                let back = -std::mem::take(&mut self.ahead);
                self.moves(back);
            }
        }
    }

    /// What has to hold at every moment.
    fn is_safe(&self) -> Result<(), TestCaseError> {
        for manifest in self.manifests() {
            let of_set = |part: &str| self.snapshots.iter().any(|other| other.set() == manifest.set() && other.id.ends_with(part));
            prop_assert!(["-files", "-dump", "-files-again"].iter().all(|part| of_set(part)), "{:?} lacks a part", manifest.set());
        }
        prop_assert!(self.lost.is_empty(), "the newest proven set, or one as young, is gone: {:?}", self.lost);
        prop_assert!(self.proven.is_empty() || self.proven.iter().any(|set| self.has(set)), "no proven set is left");
        if let Some(newest) = self.made.last() {
            prop_assert!(self.has(newest), "{newest}, made last, is gone");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_newest_proven_set_and_the_one_made_last_stay_and_none_is_without_its_parts(events in vec(event(), 1..60), suspended in any::<bool>()) {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        let mut world =
            World { snapshots: Vec::new(), now, ahead: SignedDuration::ZERO, proven: Vec::new(), made: Vec::new(), lost: BTreeSet::new(), number: 0 };
        for event in &events {
            world.happens(event, suspended);
            world.is_safe()?;
        }
    }

    #[test]
    fn no_more_is_kept_than_is_said(events in vec(event(), 1..60), last in 1..4_usize, suspended in any::<bool>()) {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        let mut world =
            World { snapshots: Vec::new(), now, ahead: SignedDuration::ZERO, proven: Vec::new(), made: Vec::new(), lost: BTreeSet::new(), number: 0 };
        for event in &events {
            world.happens(event, suspended);
        }
        // Later than anything ever was, so that no clock is in the way, nor an orphan too young.
        let latest = world.snapshots.iter().map(|snapshot| snapshot.time).max().unwrap_or(now).max(world.now);
        world.now = latest.checked_add(SignedDuration::from_hours(100)).unwrap();
        let surplus = world.surplus(last, &[]);
        world.retains(&surplus, suspended, None);
        let manifests = world.manifests();
        let proven = |manifest: &&&Snapshot| world.snapshots.iter().any(|proof| proof.is(Part::Proof) && proof.set() == manifest.set());
        let sure = manifests.iter().filter(proven).map(|manifest| manifest.time).max();
        let mut times: Vec<Timestamp> = manifests.iter().map(|manifest| manifest.time).collect();
        times.sort_by_key(|time| std::cmp::Reverse(*time));
        for (place, time) in times.iter().enumerate() {
            // Sets of one second are as new as each other.
            let among_the_newest = place < last || times.get(last - 1) == Some(time);
            let kept_for_the_proof = sure.is_some_and(|sure| if suspended { *time == sure } else { *time >= sure });
            prop_assert!(among_the_newest || kept_for_the_proof, "{time} is kept for nothing");
        }
        for part in world.snapshots.iter().filter(|snapshot| !snapshot.is_manifest()) {
            prop_assert!(world.has(part.set().unwrap()), "{} belongs to no set", part.id);
        }
    }
}
