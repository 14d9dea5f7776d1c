//! Nothing happens, and the operator checks that its watches told everything: what does that ask?

use std::time::Duration;

use dhis2_operator::operator::controller;

use crate::scale::figure::{Figure, Goal};
use crate::scale::measure::create::{self, ratio};
use crate::scale::spread::Spread;
use crate::scale::stand::Stand;
use crate::site::Outcome;
use crate::site::audit::{self, Request};

/// How often it checks, in seconds. The first time comes between half of it and all of it after the start.
const EVERY: &str = "30";
const ONCE: Duration = Duration::from_secs(31);

/// Objects of a page.
const PAGE: usize = 500;

/// Secrets are not listed: so many of an instance's objects are none.
const SECRETS: usize = 4;

/// Starts an operator that looks after so many instances, and waits until it has checked each watch once. It was killed a moment ago.
///
/// # Errors
/// When it does not get ready.
pub async fn check(stand: &mut Stand, instances: usize) -> Outcome<[Figure; 3]> {
    let mut operator = stand.start()?.with("RELIST", EVERY).spawn()?;
    operator.ready("ready: leading").await?;
    let (mark, before) = (stand.traffic.mark()?, operator.usage().ticks);
    tokio::time::sleep(ONCE).await;
    stand.traffic.mark()?;
    let asked: Vec<Request> = stand.traffic.by(&stand.user(), mark).into_iter().cloned().collect();
    eprintln!("watches are checked: {}", audit::told(&audit::count(&asked, Request::what)));
    let lists = asked.iter().filter(|request| request.verb == "list").count();
    let used = create::seconds(operator.usage().ticks - before);
    operator.kill();
    let objects = instances * (create::objects()? - SECRETS + 1);
    let most = objects.div_ceil(PAGE) + controller::watches(None).len();
    Ok([
        Figure::new("hourly check: lists", instances, "", Spread::one(ratio(lists, 1))).goal(Goal::AtMost(ratio(most, 1))),
        Figure::new("hourly check: other requests", instances, "", Spread::one(ratio(asked.len() - lists, 1))).goal(Goal::AtMost(0.0)),
        Figure::new("hourly check: processor", instances, "s", Spread::one(used)),
    ])
}
