//! What the operator costs, as the audit log and the kernel of our own cluster tell.

use std::time::Duration;

use dhis2_e2e::site::audit::{self, Log};
use dhis2_e2e::site::operator::{self, Operator};
use dhis2_e2e::site::{Outcome, Story, given, process};

/// What one create costs: requests beside the objects that they made.
pub fn create(story: &Story, operator: &Operator, log: &Log) -> Outcome {
    let requests = log.requests(&operator.user())?;
    assert!(!requests.is_empty(), "the audit log does not know {}", operator.user());
    let made = requests.iter().filter(|request| request.verb == "create" && request.succeeded() && request.object_ref.resource != "events");
    story.tell(&format!(
        "requests of one create: {} for {} objects: {}",
        requests.len(),
        made.count(),
        audit::told(&audit::count(&requests, |request| request.verb.clone()))
    ));
    story.tell(&format!("they were: {}", audit::told(&audit::count(&requests, audit::Request::what))));
    let refused: Vec<String> = requests.iter().filter(|request| request.is_forbidden()).map(audit::Request::what).collect();
    assert!(refused.is_empty(), "the operator asked for what it may not: {refused:?}");
    Ok(())
}

/// The most memory that it ever had.
pub async fn memory(story: &Story, of: &Operator) -> Outcome {
    let pod = of.pod().await?.metadata.uid.unwrap_or_default();
    let peaks: Vec<u64> = process::of(&pod, operator::PROGRAM)?.into_iter().filter_map(process::peak_memory).collect();
    let [peak] = peaks.as_slice() else {
        return Err(format!("{} operators run in its pod", peaks.len()).into());
    };
    story.tell(&format!("VmHWM of the operator: {:.1} MiB", f64::from(u32::try_from(*peak)?) / 1024.0));
    Ok(())
}

/// Idle means idle: nothing but watches and the lease.
pub async fn idle(story: &Story, operator: &Operator) -> Outcome {
    let seconds = given::text("E2E_IDLE_SECONDS").map_or(Ok(60), |text| text.parse())?;
    let Some(counts) = audit::idle(story, &operator.user(), Duration::from_secs(seconds)).await? else {
        return Ok(());
    };
    story.tell(&format!("requests in {seconds} idle seconds besides lease and watches: {}", audit::told(&counts)));
    assert!(counts.is_empty(), "the operator is not idle: {counts:?}");
    Ok(())
}
