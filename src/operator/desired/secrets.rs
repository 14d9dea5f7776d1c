//! Generated passwords. Their content is never read, changed or made again.

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    Generated, Generator, Policy, Wanted,
    metadata::{Part, kept, owned},
};
use crate::{
    layout,
    operator::{
        instance::{EncryptionKey, Instance},
        kind::Kind,
    },
};

/// Name of the administrator's account that DHIS2 makes (observed at 2.42.4.1).
const ADMIN: &str = "admin";

/// The Secrets of an instance.
pub fn secrets(instance: &Instance) -> Vec<Wanted> {
    let name = |part| instance.child(part);
    let mut secrets = vec![
        generated(
            owned(instance, &name("database"), Part::Database),
            vec![
                of("username", Generator::Text(layout::OWNER_ROLE)),
                of("password", Generator::Password),
                of("backup-password", Generator::Password),
            ],
        ),
        generated(
            // Whoever adopts the database needs it: DHIS2 keeps a hash only.
            kept(instance, &name("admin"), Part::Application),
            vec![of("username", Generator::Text(ADMIN)), of("password", Generator::Dhis2Password)],
        ),
        generated(kept(instance, &name("backup"), Part::Backup), vec![of("password", Generator::Password)]),
    ];
    secrets.extend(encryption(instance));
    secrets
}

/// The encryption key, when it is the operator's to make. Immutable: what was encrypted with it would be lost.
fn encryption(instance: &Instance) -> Option<Wanted> {
    let EncryptionKey::Secret { name, generated: true } = &instance.encryption else { return None };
    let secret = Secret { metadata: kept(instance, name, Part::Application), immutable: Some(true), ..Secret::default() };
    Some(Wanted::new(Kind::Secret, name, &secret, Policy::Generate(vec![of("password", Generator::Password)])))
}

fn generated(metadata: ObjectMeta, values: Vec<Generated>) -> Wanted {
    let name = metadata.name.clone().unwrap_or_default();
    Wanted::new(Kind::Secret, &name, &Secret { metadata, ..Secret::default() }, Policy::Generate(values))
}

fn of(key: &'static str, value: Generator) -> Generated {
    Generated { key, value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::desired::fixture;

    #[test]
    fn no_secret_holds_a_value() {
        for secret in secrets(&fixture::plain()) {
            assert!(secret.object.get("data").is_none() && secret.object.get("stringData").is_none());
            assert!(matches!(secret.policy, Policy::Generate(values) if !values.is_empty()));
        }
    }

    #[test]
    fn what_opens_the_volumes_goes_when_they_go() {
        for retain in [true, false] {
            for secret in secrets(&Instance { retain, ..fixture::plain() }) {
                // The database's roles get new passwords when it is adopted.
                let stays = retain && secret.name != "play-database";
                assert_eq!(secret.object["metadata"].get("ownerReferences").is_none(), stays, "{}", secret.name);
            }
        }
    }

    #[test]
    fn the_encryption_key_is_made_only_where_it_is_ours() {
        let plain = fixture::plain();
        let key = fixture::object(&plain, Kind::Secret, "play-encryption");
        assert_eq!(key["immutable"], true);
        let theirs = EncryptionKey::Secret { name: "theirs".into(), generated: false };
        for encryption in [theirs, EncryptionKey::Default] {
            assert_eq!(secrets(&Instance { encryption, ..plain.clone() }).len(), 3);
        }
    }
}
