//! Instances whose pods are played: from nothing until they serve, and what they take then. All of their objects are there.

use std::time::Duration;

use crate::scale::contender::Contender;
use crate::scale::crowd;
use crate::scale::figure::Figure;
use crate::scale::measure::create::{self, ratio};
use crate::scale::measure::{change, idle, restart};
use crate::scale::pods::Pods;
use crate::scale::spread::Spread;
use crate::scale::stand::Stand;
use crate::site::Outcome;
use crate::site::audit::{self, Request};

/// Steps that one waits for after the other take their time, on a machine that plays all nodes beside.
const SLOWER: u32 = 4;

/// Sets in the repository of each: what the default retention comes to in a year, 7 daily, 4 more weekly and 11 more monthly ones.
const SETS: usize = 22;

/// Makes so many, waits until they serve, and measures what the operator does for them then.
///
/// # Errors
/// When they do not serve in time.
pub async fn whole(stand: &mut Stand, instances: usize, idle: Duration) -> Outcome<Vec<Figure>> {
    let pods = Pods::play(&stand.rig.client(), SETS).await?;
    let running = stand.run(Contender::Operator, 0).await?;
    let (mark, limit) = (stand.traffic.mark()?, create::limit(instances) * SLOWER);
    crowd::create(&stand.rig.client(), 0..instances).await?;
    pods.until_ready(instances, limit).await?;
    stand.traffic.until_quiet(running.user(), mark, limit).await?;
    let asked: Vec<Request> = stand.traffic.by(running.user(), mark).into_iter().cloned().collect();
    eprintln!("{instances} instances serve: {}", audit::told(&audit::count(&asked, Request::what)));
    let writes = asked.iter().filter(|request| request.writes()).count();
    let each = |number: usize| Spread::one(ratio(number, instances));
    let mut figures = vec![
        Figure::new("until it serves: requests that change something", instances, "", each(writes)),
        Figure::new("until it serves: requests that read", instances, "", each(asked.len() - writes)),
        Figure::new("until it serves: processor, an instance", instances, "ms", {
            Spread::one(create::seconds(running.usage().ticks) * 1000.0 / ratio(instances, 1))
        }),
        create::memory(&running, instances),
    ];
    figures.extend(change::nothing(stand, &running, instances).await?);
    figures.extend(idle::idle(stand, &running, instances, idle).await?);
    drop(running);
    figures.extend(restart::restart(stand, instances).await?);
    for figure in &mut figures {
        figure.name = format!("with pods and sets: {}", figure.name);
    }
    Ok(figures)
}
