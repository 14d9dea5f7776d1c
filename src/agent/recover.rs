//! `recover`: prints what brings an instance back where nothing is left of it: its Secrets, and a resource that begins with a set.
//!
//! All of it is in the manifest of the set, which one key opens. Nothing is written anywhere: whoever reads it applies it.

use serde_json::{Map, Value, json};

use super::Ended;
use super::args;
use super::failure::Failure;
use super::log::Log;
use super::paths::Paths;
use super::restore::{self, choose};
use super::secret;
use super::sets::bucket::Place;
use super::sets::manifest::Manifest;
use super::sets::restic::Repository;
use crate::layout;
use crate::report::Refusal;
use crate::yaml;

/// The annotation by which the operator knows whose a Secret was that a deleted instance has left.
const INSTANCE: &str = "dhis2.hosting/instance";

/// Nothing is printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The set can't be read.
    #[error(transparent)]
    Restore(#[from] restore::Error),
    /// The key of the repository can't be read.
    #[error(transparent)]
    Key(#[from] secret::Error),
    /// The manifest does not hold a resource.
    #[error("set {0} holds no Dhis2Instance that can be made again: its manifest has none with a name and a spec")]
    NoResource(String),
    /// The address of the bucket is none.
    #[error("{0} is not the address of a repository in S3: write s3:https://<host>/<bucket>/<prefix>")]
    Address(String),
    /// It can't be printed.
    #[error(transparent)]
    Write(#[from] yaml::Error),
    /// Nobody takes it.
    #[error("print it")]
    Print(#[source] std::io::Error),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Restore(error) => error.reason(),
            Self::Key(error) => error.reason(),
            Self::NoResource(_) => Some(Refusal::SetIncomplete),
            Self::Address(_) | Self::Write(_) | Self::Print(_) => None,
        }
    }
}

/// Prints it for the set that is asked for.
pub fn recover(arguments: &args::Recover, paths: &Paths, log: Log) -> Result<Ended, Error> {
    let repository = Repository::existing(&arguments.repository, paths).map_err(restore::Error::from)?;
    let snapshots = repository.snapshots().map_err(restore::Error::from)?;
    let manifest = choose(&arguments.wanted, None, &repository, &snapshots, log)?;
    let place = match &arguments.repository.s3 {
        Some(url) => Some(Place::of(url).ok_or_else(|| Error::Address(url.clone()))?),
        None => None,
    };
    let key = secret::read(&paths.of(layout::BACKUP_PASSWORD))?;
    let objects = objects(&manifest, arguments, place.as_ref(), key.reveal()).ok_or_else(|| Error::NoResource(manifest.set.clone()))?;
    let text = yaml::write_all(&objects)?;
    std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes()).map_err(Error::Print)?;
    let message = format!(
        "printed {} Secrets and the Dhis2Instance of {} as of set {} of {}: they hold every password of the instance",
        objects.len() - 1,
        manifest.name,
        manifest.set,
        manifest.created
    );
    Ok((message, None))
}

/// The Secrets and the resource, in the order in which they are to be applied.
fn objects(manifest: &Manifest, arguments: &args::Recover, place: Option<&Place>, key: &str) -> Option<Vec<Value>> {
    let mut resource = manifest.resource.clone();
    let old = resource.pointer("/metadata/name")?.as_str()?.to_owned();
    let name = arguments.rename.clone().unwrap_or_else(|| old.clone());
    // Whoever applies it says where.
    resource.pointer_mut("/metadata")?.as_object_mut()?.remove("namespace");
    *resource.pointer_mut("/metadata/name")? = json!(name);
    let spec = resource.pointer_mut("/spec")?.as_object_mut()?;
    let mut secrets = secrets(manifest, &name, spec);
    if name != old {
        prefixed_anew(spec);
    }
    let copied = manifest.secrets.get("backup/password").is_some_and(|own| own != key);
    let mut password = format!("{name}-backup");
    let repository = match place {
        Some(place) if copied => {
            let copy = copy_at(spec, place);
            let named = copy.as_ref().and_then(|copy| copy.get("passwordSecretName")?.as_str());
            password = named.map_or_else(|| format!("{name}-copy"), str::to_owned);
            let metadata = json!({ "name": password });
            secrets.push(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": { "password": key } }));
            json!({ "s3": s3(copy.and_then(|copy| copy.get("s3").cloned()), place, arguments.repository.s3_region.as_deref()) })
        }
        None => json!({ "volumeClaim": arguments.volume_claim.clone().unwrap_or_else(|| format!("{old}-backups")) }),
        Some(place) => {
            let known = spec.get("backup").and_then(|backup| backup.pointer("/repository/s3")).cloned();
            let s3 = s3(known, place, arguments.repository.s3_region.as_deref());
            let backup = spec.entry("backup").or_insert_with(|| json!({})).as_object_mut()?;
            // The sets go on where they are. Under another name it is another instance, whose place has its own name by default.
            let mut own = s3.clone();
            if name != old {
                own.as_object_mut()?.remove("prefix");
            }
            backup.insert("repository".into(), json!({ "s3": own }));
            json!({ "s3": s3 })
        }
    };
    let from = json!({ "repository": repository, "passwordSecretName": password, "set": manifest.set });
    spec.insert("bootstrap".into(), json!({ "fromBackup": from }));
    spec.insert("adopt".into(), json!(true));
    secrets.push(resource);
    Some(secrets)
}

/// The Secrets as a deleted instance leaves them, so that `adopt` takes them over.
fn secrets(manifest: &Manifest, name: &str, spec: &Map<String, Value>) -> Vec<Value> {
    let theirs = spec.get("encryption").and_then(|encryption| encryption.get("secretName")).and_then(Value::as_str);
    let secret = |part: &str| {
        let values = manifest.secrets.iter().filter_map(|(label, value)| Some((label.strip_prefix(part)?.strip_prefix('/')?, value)));
        let values: Map<String, Value> = values.map(|(key, value)| (key.to_owned(), json!(value))).collect();
        let name = theirs.filter(|_| part == "encryption").map_or_else(|| format!("{name}-{part}"), str::to_owned);
        let metadata = json!({ "name": name, "annotations": { (INSTANCE): manifest.instance } });
        (!values.is_empty()).then(|| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values }))
    };
    ["database", "encryption", "admin", "backup"].into_iter().filter_map(secret).collect()
}

/// The bucket as the resource names it: where it is now, with what the resource said of its credentials.
fn s3(known: Option<Value>, place: &Place, region: Option<&str>) -> Value {
    let mut s3 = known.unwrap_or_else(|| json!({ "credentials": { "secretName": "s3" } }));
    if let Some(fields) = s3.as_object_mut() {
        fields.extend(
            [("endpoint", &place.endpoint), ("bucket", &place.bucket), ("prefix", &place.prefix)]
                .map(|(key, value)| (key.to_owned(), json!(value))),
        );
        fields.extend(region.map(|region| ("region".to_owned(), json!(region))));
    }
    s3
}

/// The copy that is in this bucket, if the resource names one there: a bucket that has moved is known by its name.
fn copy_at(spec: &Map<String, Value>, place: &Place) -> Option<Value> {
    let copies = spec.get("backup")?.get("copies")?.as_array()?;
    let is_there = |copy: &&Value| copy.pointer("/s3/bucket").is_some_and(|bucket| bucket == place.bucket.as_str());
    let same_prefix = |copy: &&Value| copy.pointer("/s3/prefix").is_some_and(|prefix| prefix == place.prefix.as_str());
    copies.iter().filter(is_there).find(same_prefix).or_else(|| copies.iter().find(is_there)).cloned()
}

/// Under another name it is another instance, whose copies have places of their own.
fn prefixed_anew(spec: &mut Map<String, Value>) {
    let copies = spec.get_mut("backup").and_then(|backup| backup.get_mut("copies")).and_then(Value::as_array_mut);
    for copy in copies.into_iter().flatten() {
        if let Some(s3) = copy.get_mut("s3").and_then(Value::as_object_mut) {
            s3.remove("prefix");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn printed(more: &[&str], spec: &Value) -> Vec<Value> {
        opened(more, spec, "value of backup/password")
    }

    fn opened(more: &[&str], spec: &Value, key: &str) -> Vec<Value> {
        let line = ["dhis2-agent", "recover"].iter().chain(more);
        let args::Command::Recover(arguments) = args::Arguments::parse_from(line).command else { panic!("another verb") };
        let mut manifest = crate::agent::sets::manifest::fixture::manifest("set-1", "2026-11-28T01:00:00Z");
        manifest.resource = json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
            "metadata": { "name": "play", "namespace": "hmis", "labels": { "team": "a" } }, "spec": spec,
        });
        let values = ["database/username", "database/password", "encryption/password", "admin/password", "backup/password"];
        manifest.secrets = values.map(|label| (label.to_owned(), format!("value of {label}"))).into();
        let place = arguments.repository.s3.as_deref().map(|url| Place::of(url).unwrap());
        objects(&manifest, &arguments, place.as_ref(), key).unwrap()
    }

    #[test]
    fn one_from_a_volume_keeps_its_repository_to_itself() {
        let objects = printed(&[], &json!({ "version": "2.42.4", "web": { "host": "play.example.org" } }));
        let names: Vec<&str> = objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["play-database", "play-encryption", "play-admin", "play-backup", "play"]);
        assert_eq!(objects[0]["stringData"], json!({ "username": "value of database/username", "password": "value of database/password" }));
        let spec = &objects[4]["spec"];
        let from = json!({ "repository": { "volumeClaim": "play-backups" }, "passwordSecretName": "play-backup", "set": "set-1" });
        assert_eq!((&spec["bootstrap"]["fromBackup"], &spec["adopt"], spec.get("backup")), (&from, &json!(true), None));
        assert_eq!(objects[4]["metadata"], json!({ "name": "play", "labels": { "team": "a" } }));
    }

    #[test]
    fn one_from_a_bucket_goes_on_there_and_under_another_name_beside() {
        let spec = json!({ "encryption": { "secretName": "ours" }, "backup": { "schedule": "0 1 * * *", "repository": { "s3": {
            "bucket": "old", "caSecretName": "ca", "credentials": { "secretName": "keys" } } } } });
        let url = "s3:https://s3.example.org:9000/sets/hmis/play";
        let same = printed(&["--s3", url], &spec);
        assert_eq!(same[4]["spec"]["backup"]["repository"]["s3"]["prefix"], "hmis/play");
        let objects = printed(&["--s3", url, "--s3-region", "eu-1", "--rename", "again"], &spec);
        let names: Vec<&str> = objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["again-database", "ours", "again-admin", "again-backup", "again"]);
        let s3 = json!({ "bucket": "sets", "prefix": "hmis/play", "endpoint": "https://s3.example.org:9000", "region": "eu-1",
            "caSecretName": "ca", "credentials": { "secretName": "keys" } });
        let spec = &objects[4]["spec"];
        assert_eq!(spec["bootstrap"]["fromBackup"]["repository"]["s3"], s3);
        let mut own = s3;
        own.as_object_mut().unwrap().remove("prefix");
        assert_eq!(spec["backup"], json!({ "schedule": "0 1 * * *", "repository": { "s3": own } }));
    }

    #[test]
    fn one_from_a_copy_begins_with_it_and_backs_up_where_it_did() {
        let copy = json!({ "name": "away", "passwordSecretName": "away-key", "s3": {
            "bucket": "sets", "prefix": "hmis/play", "credentials": { "secretName": "away-s3" } } });
        let spec = json!({ "version": "2.42.4", "backup": { "schedule": "0 1 * * *", "copies": [copy] } });
        let url = ["--s3", "s3:https://s3.example.org/sets/hmis/play"];
        let objects = opened(&url, &spec, "key of the copy");
        let [.., secret, resource] = objects.as_slice() else { panic!("too few") };
        assert_eq!((&secret["metadata"]["name"], &secret["stringData"]["password"]), (&json!("away-key"), &json!("key of the copy")));
        let from = &resource["spec"]["bootstrap"]["fromBackup"];
        assert_eq!(
            (&from["passwordSecretName"], &from["repository"]["s3"]["credentials"]["secretName"]),
            (&json!("away-key"), &json!("away-s3"))
        );
        assert_eq!(resource["spec"]["backup"], spec["backup"], "the repository is where it was, and so is the copy");
        let renamed = opened(&[&url[..], &["--rename", "again"]].concat(), &spec, "key of the copy");
        assert_eq!(renamed.last().unwrap()["spec"]["backup"]["copies"][0]["s3"].get("prefix"), None);
        let unknown = opened(&url, &json!({ "version": "2.42.4" }), "key of the copy");
        assert_eq!(unknown.last().unwrap()["spec"]["bootstrap"]["fromBackup"]["passwordSecretName"], "play-copy");
    }
}
