//! All instances change: in a field that counts, and in none.

use std::time::Duration;

use dhis2_operator::operator::settings::Settings;
use serde_json::{Value, json};

use crate::scale::contender::Running;
use crate::scale::figure::{Figure, Goal};
use crate::scale::measure::create::{self, ratio};
use crate::scale::spread::Spread;
use crate::scale::stand::Stand;
use crate::scale::{children, crowd};
use crate::site::Outcome;
use crate::site::audit::{self, Request};

/// What changes: a key of `dhis.conf`.
const KEY: &str = "system.session.timeout";

fn patch(value: &str) -> Value {
    json!({ "spec": { "config": { (KEY): value } } })
}

/// Objects that this changes.
fn changed() -> Outcome<usize> {
    let before = crowd::instance(0)?;
    let mut after = before.clone();
    after.spec.config.insert(KEY.to_owned(), "3600".to_owned());
    let digests = |resource| -> Outcome<Vec<String>> {
        Ok(children::wanted(resource, &Settings::default())?.iter().map(dhis2_operator::operator::desired::Wanted::digest).collect())
    };
    let (before, after) = (digests(&before)?, digests(&after)?);
    Ok(before.iter().zip(&after).filter(|(before, after)| before != after).count())
}

/// Changes a field of so many instances, and a second time: at the first change of an object, the operator takes over what it created.
///
/// # Errors
/// What the API server says.
pub async fn field(stand: &mut Stand, running: &Running, instances: usize) -> Outcome<[Figure; 2]> {
    Ok([once(stand, running, instances, "first", "3600").await?, once(stand, running, instances, "later", "7200").await?])
}

async fn once(stand: &mut Stand, running: &Running, instances: usize, which: &str, value: &str) -> Outcome<Figure> {
    let mark = stand.traffic.mark()?;
    crowd::change(&stand.rig.client(), 0..instances, &patch(value)).await?;
    stand.traffic.until_quiet(running.user(), mark, create::limit(instances)).await?;
    let asked: Vec<Request> = stand.traffic.by(running.user(), mark).into_iter().cloned().collect();
    eprintln!("a field changed: {}", audit::told(&audit::count(&asked, Request::what)));
    let writes = asked.iter().filter(|request| request.writes()).count();
    let most = ratio(changed()?, 1) + 2.0;
    let name = format!("one field changed, {which} time: requests that change something, an instance");
    Ok(Figure::new(&name, instances, "", Spread::one(ratio(writes, instances))).goal(Goal::AtMost(most)))
}

/// Makes the operator look at so many instances again, though nothing is to be done. It looked at their Secrets a moment ago.
///
/// # Errors
/// What the API server says.
pub async fn nothing(stand: &mut Stand, running: &Running, instances: usize) -> Outcome<Vec<Figure>> {
    let (mark, before) = (stand.traffic.mark()?, running.usage().ticks);
    crowd::change(&stand.rig.client(), 0..instances, &json!({ "metadata": { "annotations": { "bench.example.org/look": "again" } } }))
        .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    stand.traffic.mark()?;
    let used = create::seconds(running.usage().ticks - before);
    let asked: Vec<Request> = stand.traffic.by(running.user(), mark).into_iter().cloned().collect();
    eprintln!("nothing to be done: {}", audit::told(&audit::count(&asked, Request::what)));
    let writes = asked.iter().filter(|request| request.writes()).count();
    Ok(vec![
        Figure::new("1000 passes without work: processor", instances, "s", Spread::one(used * 1000.0 / ratio(instances, 1)))
            .goal(Goal::AtMost(0.25)),
        Figure::new("passes without work: requests that change something", instances, "", Spread::one(ratio(writes, 1)))
            .goal(Goal::AtMost(0.0)),
        Figure::new(
            "passes without work: requests that read, an instance",
            instances,
            "",
            Spread::one(ratio(asked.len() - writes, instances)),
        ),
    ])
}
