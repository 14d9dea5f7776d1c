//! Some instances fail for ever: what do the good ones notice, and what do the bad ones ask for?

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::create::{self, ratio};
use crate::scale::contender::Running;
use crate::scale::crowd;
use crate::scale::figure::{Figure, Goal};
use crate::scale::spread::{Spread, percentile};
use crate::scale::stand::Stand;
use crate::scale::traffic::latencies;
use crate::site::Outcome;
use crate::site::audit::Request;

/// One of so many fails.
const ONE_OF: usize = 10;

/// The longest wait between two tries of one that fails, and so the time in which each asks once.
const WINDOW: Duration = Duration::from_mins(5);

/// Makes so many instances of which a tenth fails, since a Service of its name is somebody else's. `clean` is what the slowest of a
/// hundred takes where none fails, in seconds. After `patience`, the requests of the bad ones are counted.
///
/// # Errors
/// When the good ones do not come about.
pub async fn poison(stand: &mut Stand, running: &Running, instances: usize, clean: f64, patience: Duration) -> Outcome<Vec<Figure>> {
    let bad = instances / ONE_OF;
    block(stand, bad).await?;
    let mark = stand.traffic.mark()?;
    crowd::create(&stand.rig.client(), 0..instances).await?;
    // Of a bad one all comes about but the Service, and the Job that is made when all the rest is there.
    let objects = create::objects()? * instances - 2 * bad;
    stand.traffic.until_asked(running.user(), mark, objects, create::limit(instances)).await?;
    let times = latencies(stand.traffic.since(mark), running.user());
    let good: Vec<f64> = (bad..instances).filter_map(|number| times.get(&crowd::name(number)).copied()).collect();
    let slow = percentile(&good, 99).ok_or("nothing was made")? / 1000.0;
    tokio::time::sleep(patience).await;
    let mark = stand.traffic.mark()?;
    tokio::time::sleep(WINDOW).await;
    stand.traffic.mark()?;
    let of_bad = |request: &&Request| (0..bad).any(|number| owns(number, request));
    let asked = stand.traffic.by(running.user(), mark).into_iter().filter(of_bad).count();
    Ok(vec![
        Figure::new("a tenth fails: p99 of the others, to that of a clean burst", instances, "", Spread::one(slow / clean))
            .goal(Goal::AtMost(1.2)),
        Figure::new("a tenth fails: requests of each in 5 min, after a while", instances, "", Spread::one(ratio(asked, bad)))
            .goal(Goal::AtMost(1.0)),
    ])
}

/// Is it about this instance, or something of its name?
fn owns(number: usize, request: &Request) -> bool {
    let object = request.object();
    let rest = object.name.strip_prefix(&crowd::name(number));
    object.namespace == crowd::namespace(number) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
}

async fn block(stand: &Stand, bad: usize) -> Outcome {
    let block = async |number: usize| -> Outcome {
        let service = json!({ "metadata": { "name": crowd::name(number) }, "spec": { "ports": [{ "port": 80 }] } });
        let api: Api<Service> = Api::namespaced(stand.rig.client(), &crowd::namespace(number));
        api.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
        Ok(())
    };
    stream::iter(0..bad).map(block).buffer_unordered(8).try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_belongs_to_the_instance_whose_name_it_bears() {
        let request = |namespace: &str, name: &str| -> Request {
            serde_json::from_value(json!({
                "verb": "create", "stage": "ResponseComplete", "requestReceivedTimestamp": "2026-11-28T18:00:00Z",
                "stageTimestamp": "2026-11-28T18:00:00Z", "objectRef": {"resource": "services", "namespace": namespace, "name": name}
            }))
            .unwrap()
        };
        for (namespace, name, is) in [
            ("crowd-01", "i00001", true),
            ("crowd-01", "i00001-database", true),
            ("crowd-01", "i00001.18a2", true),
            ("crowd-02", "i00001", false),
            ("crowd-01", "i000010", false),
            ("crowd-01", "", false),
        ] {
            assert_eq!(owns(1, &request(namespace, name)), is, "{namespace}/{name}");
        }
    }
}
