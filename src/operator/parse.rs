//! A resource and what the cluster says about it → an instance, or a refusal: a reason for which nothing
//! is touched until it is gone.

mod address;
mod claims;
mod clients;
pub mod copies;
mod repository;
pub mod restoring;
mod schedule;
mod size;
mod source;
pub mod upgrade;

use k8s_openapi::jiff::SignedDuration;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::{
    errands,
    instance::{Analytics, EncryptionKey, Images, Instance, Stage},
    kind::Kind,
    observe::{ENCRYPTION_KEY, Observed},
    settings::Settings,
};
use crate::{
    api::{Dhis2Instance, Reason, analytics::Generate, instance::DeletionPolicy},
    dhis2::version::Version,
};

pub use repository::bucket;
pub use schedule::backup;

/// Why an instance can't be built as it stands. It is told, and nothing is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// What is wrong, in which field, and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with its message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Parses a resource.
///
/// # Errors
/// A refusal, to be told in the condition `Stalled`.
pub fn parse(resource: &Dhis2Instance, observed: &Observed, settings: &Settings) -> Result<Instance, Refusal> {
    claims::are_there(resource, observed)?;
    secrets_are_there(resource, observed)?;
    key_is_there(observed)?;
    source::key_is_there(observed)?;
    assume(resource, observed, settings)
}

/// Parses a resource as if everything that is recorded were there: what an arriving object is compared
/// with while others have not arrived yet. Nothing is written on its word.
///
/// # Errors
/// A refusal that the resource itself gives reason for.
pub fn assume(resource: &Dhis2Instance, observed: &Observed, settings: &Settings) -> Result<Instance, Refusal> {
    let spec = &resource.spec;
    let name = resource.name_any();
    let version: Version = spec.version.parse().map_err(|error| Refusal::new(Reason::InvalidSpec, format!("spec.version: {error}")))?;
    let version = upgrade::effective(resource, version);
    let encryption = encryption(resource);
    let claims = claims::claims(resource, observed);
    let (database, files) = (size::database(resource, observed, &claims)?, size::files(resource, observed, &claims)?);
    Ok(Instance {
        namespace: resource.namespace().unwrap_or_default(),
        uid: resource.uid().unwrap_or_default(),
        owner: resource.controller_owner_ref(&()).unwrap_or_default(),
        version,
        images: images(resource, version, settings),
        web: address::web(resource, settings),
        application: size::application(spec)?,
        scratch: size::scratch(resource, &database.storage, &files)?,
        database,
        files,
        copies: copies::copies(resource)?,
        repository: repository::repository(resource, observed, &claims)?,
        claims,
        source: source::source(resource, observed)?,
        restoring: restoring::restoring(resource, observed),
        preparing: upgrade::preparing(resource),
        analytics: analytics(resource),
        errand: errands::under_way(observed).map(|asked| asked.to_do()),
        running: upgrade::running(resource),
        patience: upgrade::timeout(resource).as_secs(),
        defect: upgrade::defect(resource, version),
        pod: spec.pod.clone().unwrap_or_default(),
        policies: spec.network.policies,
        clients: clients::clients(resource, settings)?,
        backup: backup(resource)?,
        retain: spec.deletion_policy == DeletionPolicy::Retain,
        adopt: spec.adopt,
        resource: as_json(resource),
        stage: stage(resource, observed, &encryption, version),
        encryption,
        name,
    })
}

/// A time as the API has it: minutes, hours or days.
pub fn span(text: &str) -> Option<SignedDuration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = number.parse::<i64>().ok().filter(|number| (0..100_000).contains(number))?;
    match unit {
        "m" => Some(SignedDuration::from_mins(number)),
        "h" => Some(SignedDuration::from_hours(number)),
        "d" => Some(SignedDuration::from_hours(24 * number)),
        _ => None,
    }
}

fn images(resource: &Dhis2Instance, version: Version, settings: &Settings) -> Images {
    let image = resource.spec.image.clone().unwrap_or_default();
    let repository = image.repository.unwrap_or_else(|| settings.dhis2_repository.clone());
    let dhis2 = match upgrade::digest(resource) {
        Some(digest) => format!("{repository}@{digest}"),
        None => format!("{repository}:{}", version.tag()),
    };
    Images {
        dhis2,
        dhis2_pull_policy: image.pull_policy.name(),
        postgres: resource.spec.database.bundled.image.clone().unwrap_or_else(|| settings.postgres_image.clone()),
        agent: settings.image.clone(),
        agent_pull_policy: settings.image_pull_policy.clone(),
        pull_secrets: image.pull_secrets,
    }
}

fn encryption(resource: &Dhis2Instance) -> EncryptionKey {
    let encryption = &resource.spec.encryption;
    match (&encryption.secret_name, encryption.default_key) {
        (Some(name), _) => EncryptionKey::Secret { name: name.clone(), generated: false },
        (None, Some(true)) => EncryptionKey::Default,
        (None, _) => EncryptionKey::Secret { name: format!("{}-encryption", resource.name_any()), generated: true },
    }
}

/// The run that has not ended.
fn analytics(resource: &Dhis2Instance) -> Option<Analytics> {
    let analytics = resource.status.as_ref()?.analytics.as_deref()?;
    let due = analytics.finished.is_none() && resource.spec.analytics.generate == Generate::WhenMissing;
    due.then_some(Analytics { run: analytics.run, all: analytics.all })
}

/// A Secret that was made once is never made again: what it opened could not be opened any more. Whether
/// one that was brought back fits is seen by the agents, which use it.
fn secrets_are_there(resource: &Dhis2Instance, observed: &Observed) -> Result<(), Refusal> {
    let mut recorded = resource.status.iter().flat_map(|status| &status.secrets);
    match recorded.find(|made| !observed.secrets.contains_key(&made.name)) {
        None => Ok(()),
        Some(lost) => Err(Refusal::new(
            Reason::SecretLost,
            format!(
                "Secret {} is gone. It was generated once and is not made again, since what it opens would stay closed. Bring it back with its content: from your own copy, or from the manifest of a backup.",
                lost.name
            ),
        )),
    }
}

/// Without the key that the user named nothing is made or changed: a pod that mounts it would wait without a word.
fn key_is_there(observed: &Observed) -> Result<(), Refusal> {
    observed.missing.get(ENCRYPTION_KEY).map_or(Ok(()), |name| {
        let message = format!(
            "Secret {name} of {ENCRYPTION_KEY} does not exist. Make it, with the encryption key under `password`; the one that this database was made with, if there is one."
        );
        Err(Refusal::new(Reason::SecretMissing, message))
    })
}

/// The resource as a user would apply it again.
fn as_json(resource: &Dhis2Instance) -> String {
    let metadata = json!({
        "name": resource.name_any(), "namespace": resource.namespace(), "labels": resource.metadata.labels,
    });
    json!({ "apiVersion": Dhis2Instance::api_version(&()), "kind": Dhis2Instance::kind(&()), "metadata": metadata, "spec": resource.spec })
        .to_string()
}

fn stage(resource: &Dhis2Instance, observed: &Observed, encryption: &EncryptionKey, version: Version) -> Stage {
    let (name, status) = (&resource.name_any(), resource.status.clone().unwrap_or_default());
    let generated = matches!(encryption, EncryptionKey::Secret { generated: true, .. });
    let secrets_needed = if generated { 4 } else { 3 };
    let claims = status.claims.unwrap_or_default();
    let has_repository = claims.backups.is_some() || resource.spec.backup.repository.s3.is_some();
    let built = status.database.is_some_and(|database| database.built.is_some());
    let secured = status.admin.is_some_and(|admin| admin.secured.is_some());
    let serving = observed.set_is_ready(name);
    let runs = status.version.and_then(|version| version.running);
    let first = format!("{name}-backup-first");
    let never_backed_up = status.backup.is_none_or(|backup| backup.last.is_none());
    Stage {
        prepared: status.secrets.len() >= secrets_needed && claims.database.is_some() && claims.files.is_some() && has_repository,
        built,
        application: built && (observed.set_is_ready(&format!("{name}-database")) || observed.own(Kind::StatefulSet, name).is_some()),
        secured,
        taken: observed.taken.is_some(),
        first_backup: secured && never_backed_up && !resource.spec.backup.suspend && (serving || observed.own(Kind::Job, &first).is_some()),
        upgrading: runs.is_some_and(|runs| runs.parse() != Ok(version)),
        held: upgrade::is_held(resource, version),
        downgrade: upgrade::is_downgrade(resource, version),
        migrating: upgrade::is_under_way(resource),
    }
}

#[cfg(test)]
mod tests;
