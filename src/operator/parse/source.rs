//! What a new instance begins with, unless its database is empty.

use super::{Refusal, repository};
use crate::{
    api::{Dhis2Instance, Reason},
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
    let place = match (&backup.repository.s3, &backup.repository.volume_claim) {
        (Some(s3), _) => Place::S3(repository::bucket("bootstrap.fromBackup.repository.s3", s3, resource, None)?),
        (None, Some(claim)) => Place::Claim(claim.clone()),
        (None, None) => return Ok(None),
    };
    let before = backup.before.as_ref().map(|time| time.0.to_string());
    Ok(Some(Source::Backup(Origin { place, password: backup.password_secret_name.clone(), set: backup.set.clone(), before })))
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
