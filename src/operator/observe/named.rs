//! The Secrets that a resource names, by the fields that name them.

use crate::{api::Dhis2Instance, operator::others::Others};

/// The field that names the user's certificate. What an issuer makes comes when it comes.
pub const CERTIFICATE: &str = "spec.web.tls.secretName";
/// The field that names the user's encryption key.
pub const ENCRYPTION_KEY: &str = "spec.encryption.secretName";
/// The field that names the credentials of the repository's server.
pub const S3_CREDENTIALS: &str = "spec.backup.repository.s3.credentials.secretName";
/// The field that names the authority of that server's certificate.
pub const S3_CA: &str = "spec.backup.repository.s3.caSecretName";

/// The field that names the instance with a set of which a new one begins.
pub const SOURCE_INSTANCE: &str = "spec.bootstrap.fromBackup.instance";
/// The field that names the key of the repository that a new instance begins with.
pub const SOURCE_KEY: &str = "spec.bootstrap.fromBackup.passwordSecretName";
/// The field that names the credentials of its server.
pub const SOURCE_CREDENTIALS: &str = "spec.bootstrap.fromBackup.repository.s3.credentials.secretName";
/// The field that names the authority of that server's certificate.
pub const SOURCE_CA: &str = "spec.bootstrap.fromBackup.repository.s3.caSecretName";

/// Secrets that the resource names and whose loss nothing else tells: a container that lacks one of `secretConfig` is refused by name.
pub(super) fn named<'a>(resource: &'a Dhis2Instance, others: &'a Others) -> impl Iterator<Item = (String, &'a str)> {
    let certificate = resource.spec.web.tls.as_ref().and_then(|tls| tls.secret_name.as_deref());
    let key = resource.spec.encryption.secret_name.as_deref();
    let s3 = resource.spec.backup.repository.s3.as_ref();
    let (credentials, ca) = (s3.map(|s3| s3.credentials.secret_name.as_str()), s3.and_then(|s3| s3.ca_secret_name.as_deref()));
    let own = [(CERTIFICATE, certificate), (ENCRYPTION_KEY, key), (S3_CREDENTIALS, credentials), (S3_CA, ca)];
    let fixed = own.into_iter().chain(of_source(resource, others)).map(|(field, name)| (field.to_owned(), name));
    fixed.chain(of_copies(resource)).filter_map(|(field, name)| Some((field, name?)))
}

/// The fields of a copy that name Secrets, with what those hold: the key, the credentials, the authority.
pub fn fields_of_copy(copy: &str) -> [(String, &'static str); 3] {
    let field = |rest: &str| format!("spec.backup.copies[{copy}].{rest}");
    [
        (field("passwordSecretName"), "the key of the copy under password"),
        (field("s3.credentials.secretName"), "the keys accessKeyID and secretAccessKey"),
        (field("s3.caSecretName"), "the certificate of the server's authority under ca.crt"),
    ]
}

fn of_copies(resource: &Dhis2Instance) -> impl Iterator<Item = (String, Option<&str>)> {
    resource.spec.backup.copies.iter().flat_map(|copy| {
        let names = [Some(&copy.password_secret_name), Some(&copy.s3.credentials.secret_name), copy.s3.ca_secret_name.as_ref()];
        let fields = fields_of_copy(&copy.name).map(|(field, _)| field);
        fields.into_iter().zip(names.map(|name| name.map(String::as_str)))
    })
}

/// Those of what a new instance begins with, as long as it is new.
fn of_source<'a>(resource: &'a Dhis2Instance, others: &'a Others) -> impl Iterator<Item = (&'static str, Option<&'a str>)> {
    let backup = resource.spec.bootstrap.as_ref().and_then(|bootstrap| bootstrap.from_backup.as_ref()).filter(|_| is_new(resource));
    let other = backup.and_then(|backup| others.get(backup.instance.as_ref()?));
    let repository = other.map(|other| &other.repository).or(backup.and_then(|backup| backup.repository.as_ref()));
    let s3 = repository.and_then(|repository| repository.s3.as_ref());
    let key = other.map(|other| &other.password).or(backup.and_then(|backup| backup.password_secret_name.as_ref()));
    [
        (SOURCE_KEY, key.map(String::as_str)),
        (SOURCE_CREDENTIALS, s3.map(|s3| s3.credentials.secret_name.as_str())),
        (SOURCE_CA, s3.and_then(|s3| s3.ca_secret_name.as_deref())),
    ]
    .into_iter()
}

pub(super) fn is_new(resource: &Dhis2Instance) -> bool {
    resource.status.as_ref().is_none_or(|status| status.database.is_none())
}
