//! One new instance: how long until all of its objects are there, alone and while a thousand others come.

use std::time::Duration;

use super::create;
use crate::scale::contender::Running;
use crate::scale::crowd;
use crate::scale::figure::{Figure, Goal};
use crate::scale::spread::{Spread, percentile};
use crate::scale::stand::Stand;
use crate::scale::traffic::latencies;
use crate::site::Outcome;

/// So many are made one after the other.
const SAMPLES: usize = 100;

/// So many come into the middle of a burst, and so far apart.
const LATE: usize = 20;
const APART: Duration = Duration::from_millis(100);

/// New instances beside so many that are there, one at a time.
///
/// # Errors
/// When one does not come about.
pub async fn alone(stand: &mut Stand, running: &Running, there: usize) -> Outcome<[Figure; 2]> {
    let mark = stand.traffic.mark()?;
    let objects = create::objects()?;
    for number in there..there + SAMPLES {
        crowd::create(&stand.rig.client(), number..number + 1).await?;
        stand.traffic.until_asked(running.user(), mark, objects * (number + 1 - there), create::limit(1)).await?;
    }
    stand.traffic.until_made(running.user(), mark, objects * SAMPLES, create::limit(1)).await?;
    let times: Vec<f64> = latencies(stand.traffic.since(mark), running.user()).into_values().collect();
    let figure = |percent: usize, most: f64| {
        let value = percentile(&times, percent).ok_or("nothing was made")?;
        let name = format!("one create: until all objects are there, p{percent}");
        Ok::<_, String>(Figure::new(&name, there, "ms", Spread::one(value)).goal(Goal::AtMost(most)))
    };
    Ok([figure(50, 100.0)?, figure(99, 300.0)?])
}

/// New instances while a burst of so many is half done; and what the slowest of a hundred of the burst took, in seconds.
///
/// # Errors
/// When one does not come about.
pub async fn amid(stand: &mut Stand, running: &Running, burst: usize) -> Outcome<(Figure, f64)> {
    let mark = stand.traffic.mark()?;
    let (client, objects) = (stand.rig.client(), create::objects()?);
    crowd::create(&client, 0..burst).await?;
    stand.traffic.until_asked(running.user(), mark, objects * burst / 2, create::limit(burst)).await?;
    for number in burst..burst + LATE {
        crowd::create(&client, number..number + 1).await?;
        tokio::time::sleep(APART).await;
    }
    stand.traffic.until_made(running.user(), mark, objects * (burst + LATE), create::limit(burst)).await?;
    let times = latencies(stand.traffic.since(mark), running.user());
    let late: Vec<f64> = (burst..burst + LATE).filter_map(|number| times.get(&crowd::name(number)).copied()).collect();
    let value = percentile(&late, 99).ok_or("nothing was made")? / 1000.0;
    let others: Vec<f64> = (0..burst).filter_map(|number| times.get(&crowd::name(number)).copied()).collect();
    let clean = percentile(&others, 99).ok_or("nothing was made")? / 1000.0;
    Ok((Figure::new("one create amid a burst: p99", burst, "s", Spread::one(value)).goal(Goal::AtMost(2.0)), clean))
}
