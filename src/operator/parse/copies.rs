//! Where sets are copied to.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::{Refusal, repository, schedule};
use crate::{
    api::{Dhis2Instance, Reason},
    operator::instance::{BackupCopy, Bucket},
};

/// The copies of an instance's sets.
///
/// # Errors
/// `InvalidSpec` when two places are the same, or when one can't be reached beside the repository; `InvalidSchedule`.
pub fn copies(resource: &Dhis2Instance) -> Result<Vec<BackupCopy>, Refusal> {
    let own = resource.spec.backup.repository.s3.as_ref();
    let own = own.map(|s3| repository::bucket("backup.repository.s3", s3, resource, None)).transpose()?;
    let mut places: BTreeSet<String> = own.iter().map(|bucket| bucket.url.clone()).collect();
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let copies = resource.spec.backup.copies.iter().map(|copy| {
        let field = format!("backup.copies[{}]", copy.name);
        let bucket = repository::bucket(&format!("{field}.s3"), &copy.s3, resource, None)?;
        if !places.insert(bucket.url.clone()) {
            let message = format!(
                "spec.{field}.s3: {} is the place of the repository or of another copy: set another bucket or prefix",
                bucket.url.trim_start_matches("s3:")
            );
            return Err(Refusal::new(Reason::InvalidSpec, message));
        }
        if let Some(own) = &own {
            is_reached_alike(&field, own, &bucket)?;
        }
        let verify = copy
            .verify
            .as_ref()
            .map(|verify| schedule::asked(&format!("spec.{field}.verify.schedule"), Some(&verify.schedule), String::new));
        let spread = || schedule::spread_after(&namespace, &format!("{name}/{}", copy.name));
        Ok(BackupCopy {
            name: copy.name.clone(),
            bucket,
            password: copy.password_secret_name.clone(),
            schedule: schedule::asked(&format!("spec.{field}.schedule"), copy.schedule.as_ref(), spread)?,
            append_only: copy.append_only,
            verify_schedule: verify.transpose()?,
        })
    });
    copies.collect()
}

/// restic speaks to two servers at once with one key, and trusts one authority.
fn is_reached_alike(field: &str, own: &Bucket, copy: &Bucket) -> Result<(), Refusal> {
    let alike = (&own.credentials, &own.ca, own.path_style) == (&copy.credentials, &copy.ca, copy.path_style);
    let message = || {
        format!(
            "spec.{field}.s3: the repository is in S3 too, and both are reached with one key and one authority: name the same Secrets in credentials and caSecretName, and a server that is of AWS if the repository's is; or keep the repository on a volume"
        )
    };
    if alike { Ok(()) } else { Err(Refusal::new(Reason::InvalidSpec, message())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{observe::Observed, parse, settings::Settings};
    use serde_json::{Value, json};

    fn parsed(backup: &Value) -> Result<Vec<BackupCopy>, Refusal> {
        let spec = json!({ "version": "2.42.4", "web": { "host": "play.example.org" }, "backup": backup });
        let mut resource = Dhis2Instance::new("play", serde_json::from_value(spec).unwrap());
        resource.metadata.namespace = Some("hmis".into());
        Ok(parse::parse(&resource, &Observed::default(), &Settings::default())?.copies)
    }

    fn s3(endpoint: &str, secret: &str) -> Value {
        json!({ "bucket": "sets", "endpoint": endpoint, "credentials": { "secretName": secret } })
    }

    fn copy(name: &str, s3: &Value) -> Value {
        json!({ "name": name, "passwordSecretName": "key", "s3": s3 })
    }

    #[test]
    fn each_has_a_place_and_a_time() {
        let a = copy("a", &s3("https://a.example.org", "a"));
        let mut b = copy("b", &s3("https://b.example.org", "b"));
        b["schedule"] = json!("0 12 * * 0");
        let copies = parsed(&json!({ "copies": [a, b] })).unwrap();
        assert_eq!(copies[0].bucket.url, "s3:https://a.example.org/sets/hmis/play");
        assert_eq!((copies[0].password.as_str(), copies[1].schedule.as_str()), ("key", "0 12 * * 0"));
        assert_ne!(copies[0].schedule, copies[1].schedule);
    }

    #[test]
    fn two_in_one_place_are_refused() {
        let (one, two) = (copy("a", &s3("https://a.example.org", "a")), copy("b", &s3("https://a.example.org:443/", "a")));
        let own = json!({ "s3": s3("https://a.example.org", "a") });
        for backup in [json!({ "copies": [one, two] }), json!({ "copies": [two], "repository": own })] {
            let refusal = parsed(&backup).unwrap_err();
            assert_eq!(refusal.reason, Reason::InvalidSpec);
            assert!(refusal.message.contains("spec.backup.copies[b].s3: https://a.example.org/sets/hmis/play"), "{}", refusal.message);
        }
    }

    #[test]
    fn two_servers_are_reached_with_one_key() {
        let own = json!({ "s3": s3("https://a.example.org", "a") });
        let with = |s3: &Value| parsed(&json!({ "copies": [copy("b", s3)], "repository": own }));
        assert!(with(&s3("https://b.example.org", "a")).is_ok());
        for other in [s3("https://b.example.org", "b"), s3("https://s3.eu-west-1.amazonaws.com", "a")] {
            let refusal = with(&other).unwrap_err();
            assert!(refusal.message.starts_with("spec.backup.copies[b].s3: the repository is in S3 too"), "{}", refusal.message);
        }
    }

    #[test]
    fn a_schedule_that_never_comes_is_refused() {
        let mut never = copy("a", &s3("https://a.example.org", "a"));
        never["schedule"] = json!("0 0 30 2 *");
        let refusal = parsed(&json!({ "copies": [never] })).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidSchedule);
        assert!(refusal.message.starts_with("spec.backup.copies[a].schedule"), "{}", refusal.message);
    }
}
