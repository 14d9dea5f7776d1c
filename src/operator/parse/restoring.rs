//! The restore that is under way, as the status records it.

use kube::ResourceExt;

use crate::{
    api::{
        Dhis2Instance,
        restore::Phase,
        status::{Made, OperationStatus},
    },
    operator::instance::Restoring,
};

/// The restore that objects are made or stopped for; none when it is over.
pub fn restoring(resource: &Dhis2Instance) -> Option<Restoring> {
    let operation = resource.status.as_ref()?.operation.as_ref().filter(|operation| operation.restores())?;
    let phase = operation.phase.parse::<Phase>().ok().filter(|phase| !phase.is_over())?;
    let [database, files] = names(&resource.name_any(), operation);
    Some(Restoring {
        phase,
        uid: operation.uid.clone(),
        set: operation.asked.clone(),
        before: operation.before.as_ref().map(|time| time.0.to_string()),
        database,
        files,
    })
}

/// Names of the claims that an operation fills or goes back to: database, files.
pub fn names(instance: &str, operation: &OperationStatus) -> [String; 2] {
    let claims = operation.claims.clone().unwrap_or_default();
    let number = operation.number;
    let name = |made: Option<Made>, part: &str| made.map_or_else(|| format!("{instance}-{part}-{number}"), |made| made.name);
    [name(claims.database, "database"), name(claims.files, "files")]
}
