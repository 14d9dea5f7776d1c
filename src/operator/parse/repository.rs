//! Where backup sets are kept: on a claim of the instance, or in a bucket, with all that its pods have to know.

use kube::ResourceExt;

use super::{Refusal, size};
use crate::{
    api::{Dhis2Instance, Reason, backup::S3},
    operator::{
        instance::{Bucket, Claims, Endpoint, Repository, Storage},
        kind::Kind,
        observe::Observed,
    },
};

/// AWS's own servers: they find a bucket by the name of its host, others by its path.
const AWS: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];
/// The port of https.
const HTTPS: i32 = 443;

/// The repository of an instance.
///
/// # Errors
/// `InvalidSpec` when the size of the volume can't be read, or the port of the endpoint is none.
pub fn repository(resource: &Dhis2Instance, observed: &Observed, claims: &Claims) -> Result<Repository, Refusal> {
    match &resource.spec.backup.repository.s3 {
        None => size::backups(resource, observed, claims).map(Repository::Volume),
        Some(s3) => bucket("backup.repository.s3", s3, resource, left(resource, observed, claims)).map(Repository::S3),
    }
}

/// A bucket that the field `spec.<field>` names.
///
/// # Errors
/// `InvalidSpec` when the port of its endpoint is none.
pub fn bucket(field: &str, s3: &S3, resource: &Dhis2Instance, left: Option<Storage>) -> Result<Bucket, Refusal> {
    let endpoint = endpoint(s3).map_err(|wrong| {
        let message = format!("spec.{field}.endpoint: {wrong}; write one such as https://s3.example.org:9000");
        Refusal::new(Reason::InvalidSpec, message)
    })?;
    let prefix = s3.prefix.clone().unwrap_or_else(|| format!("{}/{}", resource.namespace().unwrap_or_default(), resource.name_any()));
    let port = if endpoint.port == HTTPS { String::new() } else { format!(":{}", endpoint.port) };
    Ok(Bucket {
        url: format!("s3:https://{}{port}/{}/{prefix}", endpoint.host, s3.bucket),
        path_style: !AWS.iter().any(|domain| endpoint.host.ends_with(domain)),
        endpoint,
        region: s3.region.clone(),
        limits: [s3.limit_upload_kib, s3.limit_download_kib],
        credentials: s3.credentials.secret_name.clone(),
        ca: s3.ca_secret_name.clone(),
        left,
    })
}

fn endpoint(s3: &S3) -> Result<Endpoint, String> {
    let Some(url) = &s3.endpoint else {
        let host = s3.region.as_ref().map_or_else(|| "s3.amazonaws.com".to_owned(), |region| format!("s3.{region}.amazonaws.com"));
        return Ok(Endpoint { host, port: HTTPS });
    };
    let rest = url.strip_prefix("https://").ok_or_else(|| format!("{url:?} does not begin with https://"))?;
    let (host, port) = match rest.trim_end_matches('/').split_once(':') {
        None => (rest.trim_end_matches('/'), HTTPS),
        Some((host, port)) => {
            let number = port.parse::<u16>().ok().filter(|number| *number > 0);
            (host, number.map(i32::from).ok_or_else(|| format!("{port:?} is no port"))?)
        }
    };
    Ok(Endpoint { host: host.to_owned(), port })
}

/// The claim of backups that the instance had before its repository was in a bucket, as it is: it stays, and grows no more.
fn left(resource: &Dhis2Instance, observed: &Observed, claims: &Claims) -> Option<Storage> {
    let recorded = resource.status.as_ref()?.claims.as_ref()?.backups.as_ref()?;
    let slot = observed.slot(Kind::PersistentVolumeClaim, &claims.backups).filter(|slot| *slot.uid == *recorded.uid && !slot.deleting)?;
    let requested = &slot.claim()?.requested;
    Some(Storage { size: requested.clone(), class: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        parse,
        settings::Settings,
        slot::fixture::{claim, slot},
    };
    use serde_json::{Value, json};

    fn parsed(s3: &Value) -> Result<Bucket, Refusal> {
        let spec = json!({
            "version": "2.42.4", "web": {"host": "play.example.org"}, "backup": {"repository": {"s3": s3}}
        });
        let mut resource = Dhis2Instance::new("play", serde_json::from_value(spec).unwrap());
        resource.metadata.namespace = Some("hmis".into());
        match parse::parse(&resource, &Observed::default(), &Settings::default())?.repository {
            Repository::S3(bucket) => Ok(bucket),
            Repository::Volume(_) => panic!("a volume"),
        }
    }

    fn with(more: &Value) -> Value {
        let mut s3 = json!({"bucket": "sets", "credentials": {"secretName": "s3"}});
        s3.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        s3
    }

    #[test]
    fn each_instance_has_a_place_of_its_own() {
        let bucket = parsed(&with(&json!({}))).unwrap();
        assert_eq!((bucket.url.as_str(), bucket.path_style), ("s3:https://s3.amazonaws.com/sets/hmis/play", false));
        let bucket = parsed(&with(&json!({"region": "eu-west-1", "prefix": "a/b"}))).unwrap();
        assert_eq!(bucket.url, "s3:https://s3.eu-west-1.amazonaws.com/sets/a/b");
        assert_eq!((bucket.region.as_deref(), bucket.endpoint.port), (Some("eu-west-1"), 443));
    }

    #[test]
    fn other_servers_find_a_bucket_by_its_path() {
        for (endpoint, url, port) in [
            ("https://s3.example.org/", "s3:https://s3.example.org/sets/hmis/play", 443),
            ("https://s3.example.org:443", "s3:https://s3.example.org/sets/hmis/play", 443),
            ("https://10.0.0.5:9000", "s3:https://10.0.0.5:9000/sets/hmis/play", 9000),
        ] {
            let bucket = parsed(&with(&json!({"endpoint": endpoint}))).unwrap();
            assert_eq!((bucket.url.as_str(), bucket.path_style, bucket.endpoint.port), (url, true, port), "{endpoint}");
        }
        let aws = parsed(&with(&json!({"endpoint": "https://s3.cn-north-1.amazonaws.com.cn"}))).unwrap();
        assert!(!aws.path_style);
    }

    #[test]
    fn a_claim_that_the_repository_has_left_is_kept_as_it_is_and_missed_by_nobody() {
        let spec = json!({
            "version": "2.42.4", "web": {"host": "play.example.org"}, "backup": {"repository": {"s3": with(&json!({}))}}
        });
        let mut resource = Dhis2Instance::new("play", serde_json::from_value(spec).unwrap());
        resource.metadata.uid = Some("uid-1".into());
        let made = |name: &str| json!({"name": name, "uid": "claim-1"});
        let claims = json!({"database": made("play-database"), "files": made("play-files"), "backups": made("play-backups")});
        resource.status = Some(serde_json::from_value(json!({ "claims": claims })).unwrap());
        let mut observed = Observed::default();
        let facts = |requested: &str| claim(requested, None, None);
        for claim in ["play-database", "play-files"] {
            observed.children.insert(Kind::PersistentVolumeClaim, claim, slot("claim-1", facts("20Gi")));
        }
        let left = |observed: &Observed| match parse::parse(&resource, observed, &Settings::default()).unwrap().repository {
            Repository::S3(bucket) => bucket.left,
            Repository::Volume(_) => panic!("a volume"),
        };
        assert_eq!(left(&observed), None);
        observed.children.insert(Kind::PersistentVolumeClaim, "play-backups", slot("claim-1", facts("7Gi")));
        assert_eq!(left(&observed), Some(Storage { size: "7Gi".into(), class: None }));
    }

    #[test]
    fn an_instance_needs_no_claim_of_backups_to_be_prepared() {
        let prepared = |repository: &Value| {
            let spec = json!({
                "version": "2.42.4", "web": {"host": "play.example.org"}, "encryption": {"secretName": "key"},
                "backup": {"repository": repository}
            });
            let mut resource = Dhis2Instance::new("play", serde_json::from_value(spec).unwrap());
            let made = |name: &str| json!({"name": name, "uid": "1"});
            let secrets = json!([made("play-admin"), made("play-backup"), made("play-database")]);
            let claims = json!({"database": made("play-database"), "files": made("play-files")});
            resource.status = Some(serde_json::from_value(json!({ "claims": claims, "secrets": secrets })).unwrap());
            parse::assume(&resource, &Observed::default(), &Settings::default()).unwrap().stage.prepared
        };
        assert!(prepared(&json!({ "s3": with(&json!({})) })));
        assert!(!prepared(&json!({})));
    }

    #[test]
    fn what_is_no_port_is_told_with_its_field() {
        let refusal = parsed(&with(&json!({"endpoint": "https://s3.example.org:70000"}))).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        assert!(refusal.message.starts_with("spec.backup.repository.s3.endpoint: \"70000\" is no port"), "{}", refusal.message);
    }
}
