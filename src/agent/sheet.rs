//! `recovery-sheet`: what belongs into the safe of an instance, on one page. Run by a person, with what `kubectl get` prints on standard input: it
//! asks nobody, and keeps nothing.

mod text;

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Ended;
use super::failure::Failure;
use super::secret;
use super::sets::known_by;

/// Nothing is printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Standard input can't be read.
    #[error("read standard input")]
    Read(#[source] std::io::Error),
    /// It is something else.
    #[error(
        "standard input has no Dhis2Instance: give it what `kubectl get dhis2/NAME secret/NAME-backup --namespace NAMESPACE --output json` prints"
    )]
    Input,
    /// A key is not among it.
    #[error(
        "Secret {secret} is not on standard input, or has no text under `password`. All that is needed: kubectl get {all} --namespace {namespace} --output json"
    )]
    NoKey {
        /// Its name.
        secret: String,
        /// All arguments that are needed.
        all: String,
        /// The namespace of the instance.
        namespace: String,
    },
    /// It would open nothing.
    #[error(
        "Secret {secret} holds another key (digest {found}) than the newest sets of {place} were made with ({known}): the right one has to be found first"
    )]
    OtherKey {
        /// Its name.
        secret: String,
        /// Digest of what it holds.
        found: String,
        /// Where the sets are.
        place: String,
        /// Digest of the key that opens them.
        known: String,
    },
    /// Nobody takes it.
    #[error("print it")]
    Print(#[source] std::io::Error),
}

impl Failure for Error {}

/// A place where sets are, with its key.
struct Place {
    /// What it is.
    name: String,
    /// As restic names it; none on a volume of the cluster.
    address: Option<String>,
    key: secret::Value,
    digest: String,
    /// As the resource has it.
    s3: Value,
    /// The certificate of its authority, where it was given.
    authority: Option<String>,
}

/// Prints it.
pub fn print() -> Result<Ended, Error> {
    let mut input = String::new();
    std::io::stdin().lock().read_to_string(&mut input).map_err(Error::Read)?;
    let objects = objects(&input)?;
    let instance = objects.iter().find(|object| object["kind"] == "Dhis2Instance").ok_or(Error::Input)?;
    let places = places(instance, &objects)?;
    let sheet = text::sheet(instance, &places, jiff::Timestamp::now());
    std::io::stdout().lock().write_all(sheet.as_bytes()).map_err(Error::Print)?;
    Ok((format!("printed the recovery sheet of {}, with {} keys", name(instance), places.len()), None))
}

/// One object, or a list of some.
fn objects(input: &str) -> Result<Vec<Value>, Error> {
    let mut given: Value = serde_json::from_str(input).map_err(|_| Error::Input)?;
    Ok(match given.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => vec![given],
    })
}

fn name(instance: &Value) -> String {
    format!("{}/{}", word(instance, "/metadata/namespace"), word(instance, "/metadata/name"))
}

fn word<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The repository, and the places that it is copied to.
fn places(instance: &Value, objects: &[Value]) -> Result<Vec<Place>, Error> {
    let empty = Value::Null;
    let backup = instance.pointer("/status/backup").unwrap_or(&empty);
    let own = format!("{}-backup", word(instance, "/metadata/name"));
    let copies = instance.pointer("/spec/backup/copies").and_then(Value::as_array).cloned().unwrap_or_default();
    let secrets: Vec<String> = std::iter::once(own).chain(copies.iter().map(|copy| word(copy, "/passwordSecretName").to_owned())).collect();
    let of = |name: &str, secret: &str, s3: &Value, told: &Value| -> Result<Place, Error> {
        let key = value(objects, secret, "password").ok_or_else(|| no_key(instance, secret, &secrets))?;
        let (key, address) = (secret::Value::new(key), told.get("repository").and_then(Value::as_str));
        let (digest, known) = (known_by(&key), word(told, "/key"));
        let place = address.map_or_else(|| name.to_owned(), str::to_owned);
        if !known.is_empty() && known != digest {
            return Err(Error::OtherKey { secret: secret.to_owned(), found: digest, place, known: known.to_owned() });
        }
        let authority = value(objects, word(s3, "/caSecretName"), crate::layout::S3_CA_CERTIFICATE);
        let address = address.map(str::to_owned);
        Ok(Place { name: name.to_owned(), address, key, digest, s3: s3.clone(), authority })
    };
    let s3 = instance.pointer("/spec/backup/repository/s3").unwrap_or(&empty);
    let mut places = vec![of("Repository", secrets.first().map_or("", String::as_str), s3, backup)?];
    for copy in &copies {
        let name = word(copy, "/name");
        let told = backup["copies"].as_array().into_iter().flatten().find(|told| told["name"] == name).unwrap_or(&empty);
        places.push(of(&format!("Copy {name}"), word(copy, "/passwordSecretName"), &copy["s3"], told)?);
    }
    Ok(places)
}

fn no_key(instance: &Value, secret: &str, secrets: &[String]) -> Error {
    let all: Vec<String> = secrets.iter().map(|secret| format!("secret/{secret}")).collect();
    Error::NoKey {
        secret: secret.to_owned(),
        all: format!("dhis2/{} {}", word(instance, "/metadata/name"), all.join(" ")),
        namespace: word(instance, "/metadata/namespace").to_owned(),
    }
}

/// A value of a Secret that was given.
fn value(objects: &[Value], secret: &str, key: &str) -> Option<String> {
    let found = objects.iter().find(|object| object["kind"] == "Secret" && word(object, "/metadata/name") == secret)?;
    let encoded = found.get("data")?.get(key)?.as_str()?;
    let bytes = STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
