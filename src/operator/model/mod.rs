//! The whole operator but for its watches' connections, against an API server and a cluster of a few lines: random histories of what
//! the cluster does, what people change, what is told late, which requests fail and when the process is killed. Deterministic: a
//! history that breaks a promise is shrunk to a short one, which can be read and run again.

mod end;
mod nodes;
mod process;
mod promises;
mod server;
mod story;

use proptest::prelude::*;
use serde_json::json;

use self::{
    end::End,
    server::Fault,
    story::{Beginning, Change, Step, tell, tell_of_a_fault, tell_of_an_end},
};
use super::cases;

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change { spec: json!({ "pod": { "labels": { "team": "health" } } }), restarts: 0 }),
        Just(Change { spec: json!({ "config": { "max.sessions.per_user": "5" } }), restarts: 1 }),
        Just(Change { spec: json!({ "resources": { "memory": "4Gi" } }), restarts: 1 }),
        Just(Change { spec: json!({ "database": { "bundled": { "parameters": { "max_connections": "200" } } } }), restarts: 1 }),
        Just(Change { spec: json!({ "files": { "volume": { "size": "100Gi" } } }), restarts: 0 }),
        Just(Change { spec: json!({ "backup": { "suspend": true } }), restarts: 0 }),
        Just(Change { spec: json!({ "network": { "policies": false } }), restarts: 0 }),
        Just(Change { spec: json!({ "deletionPolicy": "Delete" }), restarts: 0 }),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::KilledBefore),
        Just(Fault::KilledAfter),
        Just(Fault::ReplyLost),
        Just(Fault::Late),
        prop::sample::select(vec![409, 429, 500, 503]).prop_map(Fault::Refused),
    ]
}

fn beginning() -> impl Strategy<Value = Beginning> {
    prop::sample::select(vec![Beginning::FirstDay, Beginning::Settled, Beginning::Found])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Pass),
        6 => any::<prop::sample::Index>().prop_map(Step::Hear),
        3 => Just(Step::HearOfResource),
        8 => any::<prop::sample::Index>().prop_map(Step::Happen),
        1 => Just(Step::Kill),
        2 => (0_usize..12, fault()).prop_map(|(after, fault)| Step::Fail(after, fault)),
        2 => any::<prop::sample::Index>().prop_map(Step::Edit),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
        1 => change().prop_map(Step::Change),
        1 => Just(Step::Ask),
        2 => Just(Step::Arrive),
    ]
}

proptest! {
    // make model has a hundred thousand of them.
    #![proptest_config(ProptestConfig { cases: cases(24), max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_ends_as_if_nothing_had(beginning in beginning(), steps in prop::collection::vec(step(), 1..40)) {
        let (end, clean) = (tell(beginning, &steps), End::of_a_quiet_life(&steps));
        prop_assert_eq!(end.differs_from(&clean), None);
    }

    #[test]
    fn what_is_lost_is_never_made_anew(lived: bool, lost: prop::sample::Index, before in prop::collection::vec(step(), 0..10), after in prop::collection::vec(step(), 0..20)) {
        let mut steps = before;
        steps.push(Step::Lose(lost));
        steps.extend(after);
        let end = tell(if lived { Beginning::Settled } else { Beginning::Found }, &steps);
        prop_assert!(end.conditions.contains("Stalled True"), "{}", end.conditions);
    }
}

#[test]
fn each_write_of_a_first_day_may_fail() {
    let quiet = End::of_a_quiet_life(&[]);
    for fault in [Fault::Refused(409), Fault::ReplyLost, Fault::Late] {
        for after in 0.. {
            let (end, struck) = tell_of_a_fault(after, fault);
            assert_eq!(end.differs_from(&quiet), None, "{fault:?} after {after} writes");
            if !struck {
                assert!(after > 30, "{after} writes are not all of a first day");
                break;
            }
        }
    }
}

#[test]
fn what_is_collected_is_not_made_again() {
    assert_eq!(tell_of_an_end(), []);
}
