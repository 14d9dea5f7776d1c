//! What a new instance begins with, unless its database is empty.

use super::{Refusal, repository};
use crate::{
    api::{Dhis2Instance, Reason, bootstrap::SourceRepository, restore::UnreadableFiles},
    operator::{
        instance::{Origin, Place, Source},
        observe::{self, Observed},
    },
};

/// The dump or the set.
///
/// # Errors
/// `InvalidSpec` when the port of a bucket's endpoint is none, or the instance that is named is not there.
pub fn source(resource: &Dhis2Instance, observed: &Observed) -> Result<Option<Source>, Refusal> {
    let Some(bootstrap) = &resource.spec.bootstrap else { return Ok(None) };
    if let Some(dump) = &bootstrap.from_dump {
        return Ok(Some(Source::Dump(dump.clone())));
    }
    let Some(backup) = &bootstrap.from_backup else { return Ok(None) };
    if backup.instance.is_some() && resource.status.as_ref().is_some_and(|status| status.database.is_some()) {
        // It was filled: what becomes of the other one changes nothing here.
        return Ok(None);
    }
    let named =
        Named { instance: backup.instance.as_deref(), repository: backup.repository.as_ref(), key: backup.password_secret_name.as_deref() };
    let named_by = named.by("bootstrap");
    let Some((place, password)) = place("bootstrap.fromBackup", named, resource, observed)? else { return Ok(None) };
    let before = backup.before.as_ref().map(|time| time.0.to_string());
    let leaves_out = backup.unreadable_files == UnreadableFiles::LeaveOut;
    Ok(Some(Source::Backup(Box::new(Origin { place, named_by, password, set: backup.set.clone(), before, leaves_out }))))
}

/// How another repository is named: by its instance, or itself with the Secret of its key.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The instance.
    pub instance: Option<&'a str>,
    /// The repository.
    pub repository: Option<&'a SourceRepository>,
    /// Its key.
    pub key: Option<&'a str>,
}

impl Named<'_> {
    /// What the agent is told of who names it: the instance, or else this.
    pub fn by(self, otherwise: &'static str) -> &'static str {
        if self.instance.is_some() { "instance" } else { otherwise }
    }
}

/// The repository that `spec.<field>` names, and the Secret with its key.
///
/// # Errors
/// `InvalidSpec` when the port of a bucket's endpoint is none, or the instance that is named is not there.
pub fn place(field: &str, named: Named<'_>, resource: &Dhis2Instance, observed: &Observed) -> Result<Option<(Place, String)>, Refusal> {
    let (repository, key) = match (named.instance, named.repository, named.key) {
        (Some(other), _, _) => {
            let elsewhere = observed.others.get(other).ok_or_else(|| unknown(field, other))?;
            (&elsewhere.repository, elsewhere.password.as_str())
        }
        (None, Some(repository), Some(key)) => (repository, key),
        _ => return Ok(None),
    };
    let place = match (&repository.s3, &repository.volume_claim) {
        (Some(s3), _) => Place::S3(repository::bucket(&format!("{field}.repository.s3"), s3, resource, None)?),
        (None, Some(claim)) => Place::Claim(claim.clone()),
        (None, None) => return Ok(None),
    };
    Ok(Some((place, key.to_owned())))
}

fn unknown(field: &str, other: &str) -> Refusal {
    let message = format!(
        "spec.{field}.instance: there is no Dhis2Instance {other} in this namespace; make it, correct the name, or name the repository itself (of one that is gone volumeClaim: {other}-backups) and the Secret with its key ({other}-backup)."
    );
    Refusal::new(Reason::InvalidSpec, message)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::{others::Elsewhere, parse, settings::Settings};

    fn resource(status: &Value) -> Dhis2Instance {
        let spec = json!({"version": "2.42.4", "web": {"host": "play.example.org"}, "bootstrap": {"fromBackup": {"instance": "old"}}});
        let mut resource = Dhis2Instance::new("play", serde_json::from_value(spec).unwrap());
        resource.status = serde_json::from_value(status.clone()).unwrap();
        resource
    }

    /// An empty database in its place would be worse than none.
    #[test]
    fn an_instance_that_is_not_there_is_waited_for() {
        let new = resource(&Value::Null);
        let refusal = parse::parse(&new, &Observed::default(), &Settings::default()).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        let expected = "spec.bootstrap.fromBackup.instance: there is no Dhis2Instance old in this namespace";
        assert!(refusal.message.starts_with(expected), "{}", refusal.message);

        let mut observed = Observed::default();
        let repository = serde_json::from_value(json!({"volumeClaim": "old-backups"})).unwrap();
        observed.others.insert("old".into(), Elsewhere { repository, password: "old-backup".into() });
        let Some(Source::Backup(origin)) = source(&new, &observed).unwrap() else { panic!("no set") };
        assert_eq!(
            (origin.place, origin.named_by, origin.password.as_str()),
            (Place::Claim("old-backups".into()), "instance", "old-backup")
        );
    }

    #[test]
    fn one_that_was_filled_does_not_miss_it() {
        let filled = resource(&json!({"database": {"systemIdentifier": "1"}}));
        assert_eq!(source(&filled, &Observed::default()), Ok(None));
    }
}
