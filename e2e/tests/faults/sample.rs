//! Some of the points of `make faults`, always the same ones.
use dhis2_e2e::faults::campaign::{self, Fault, Point};
use dhis2_e2e::faults::flow;
use dhis2_e2e::faults::run::{Stage, WATCHED};
use dhis2_e2e::site::Outcome;
use dhis2_e2e::site::chance::Chance;
use strum::IntoEnumIterator;

/// Flows that have most kinds of writes among them, and those in which data could be lost.
const FLOWS: [&str; 8] = ["create", "adopt", "size", "drift", "restore", "rollback", "from-backup", "remove-set"];
/// Points of each.
const POINTS: usize = 5;
const SEED: u64 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_write_the_operator_goes_on_as_if_nothing_had_been() -> Outcome {
    let stage = Stage::build(None, 8).await?;
    let flows: Vec<_> = flow::all().into_iter().filter(|flow| FLOWS.contains(&flow.name)).collect();
    assert_eq!(flows.len(), FLOWS.len());
    let faults: Vec<Fault> = Fault::iter().collect();
    let some = |mut all: Vec<Point>| {
        all.sort();
        Chance::from(SEED).some(all, POINTS)
    };
    for tally in futures::future::join_all(flows.iter().map(|flow| campaign::crash(&stage, flow, &faults, WATCHED, some))).await {
        let tally = tally?;
        println!("{tally}");
        assert_eq!(tally.complaints(), Vec::<String>::new(), "again: make faults FLOW={} POINT='…'", tally.flow);
        assert_eq!(tally.verdicts.len(), POINTS);
    }
    Ok(())
}
