//! What a new instance begins with, unless its database is empty.

use super::{Refusal, repository};
use crate::{
    api::{Dhis2Instance, Reason, bootstrap::SourceRepository},
    operator::{
        instance::{Origin, Place, Source},
        observe::{self, Observed},
    },
};

/// The dump or the set.
///
/// # Errors
/// `InvalidSpec` when the port of a bucket's endpoint is none.
pub fn source(resource: &Dhis2Instance) -> Result<Option<Source>, Refusal> {
    let Some(bootstrap) = &resource.spec.bootstrap else { return Ok(None) };
    if let Some(dump) = &bootstrap.from_dump {
        return Ok(Some(Source::Dump(dump.clone())));
    }
    let Some(backup) = &bootstrap.from_backup else { return Ok(None) };
    let Some(place) = place("bootstrap.fromBackup", &backup.repository, resource)? else { return Ok(None) };
    let before = backup.before.as_ref().map(|time| time.0.to_string());
    let (password, set) = (backup.password_secret_name.clone(), backup.set.clone());
    Ok(Some(Source::Backup(Box::new(Origin { place, named_by: "bootstrap", password, set, before }))))
}

/// The repository that `spec.<field>` names.
///
/// # Errors
/// `InvalidSpec` when the port of a bucket's endpoint is none.
pub fn place(field: &str, named: &SourceRepository, resource: &Dhis2Instance) -> Result<Option<Place>, Refusal> {
    let bucket = |s3| repository::bucket(&format!("{field}.repository.s3"), s3, resource, None);
    match (&named.s3, &named.volume_claim) {
        (Some(s3), _) => bucket(s3).map(|bucket| Some(Place::S3(bucket))),
        (None, claim) => Ok(claim.clone().map(Place::Claim)),
    }
}

/// Without the Secrets of the repository nothing is made: a pod that mounts them would wait without a word.
pub fn key_is_there(observed: &Observed) -> Result<(), Refusal> {
    let fields = [
        (observe::SOURCE_KEY, "with the key of the repository under `password`"),
        (observe::SOURCE_CREDENTIALS, "with the keys accessKeyID and secretAccessKey"),
        (observe::SOURCE_CA, "with the certificate of the server's authority under ca.crt"),
    ];
    let missing = fields.into_iter().find_map(|(field, with)| Some((field, observed.missing.get(field)?, with)));
    missing.map_or(Ok(()), |(field, name, with)| {
        Err(Refusal::new(Reason::SecretMissing, format!("Secret {name} of {field} does not exist. Make it, {with}.")))
    })
}
