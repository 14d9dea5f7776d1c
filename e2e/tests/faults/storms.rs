//! Some of the storms of `make storms`: one of answers, one of rights, one of watches, one of time.
use dhis2_e2e::faults::storm::all::{self, Storm};
use dhis2_e2e::site::Outcome;

const STORMS: [&str; 4] = ["lost-create", "forbidden", "dropped-deleted", "past-create"];

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_outlives_storms_and_goes_on() -> Outcome {
    let storms: Vec<Storm> = all::all().into_iter().filter(|storm| STORMS.contains(&storm.name)).collect();
    assert_eq!(storms.len(), STORMS.len());
    for verdict in all::play(None, storms, STORMS.len(), |_| {}).await? {
        assert_eq!(verdict.report.wrong, Vec::<String>::new(), "again: make storms STORM={}", verdict.name);
    }
    Ok(())
}
