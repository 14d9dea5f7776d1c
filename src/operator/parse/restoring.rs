//! The restore that is under way, as the status and its request record it.

use kube::ResourceExt;

use super::{
    Refusal, copies,
    source::{self, Named},
};
use crate::{
    api::{
        Dhis2Instance, Reason,
        restore::{Dhis2RestoreSpec, Phase, RestoreFrom, UnreadableFiles},
        status::{Made, Operation, OperationStatus},
    },
    operator::{
        instance::{Origin, Place, Restoring, SetSource},
        observe::Observed,
        restores::asked,
    },
};

/// The restore that objects are made or stopped for; none when it is over.
pub fn restoring(resource: &Dhis2Instance, observed: &Observed) -> Option<Restoring> {
    let operation = resource.status.as_ref()?.operation.as_ref().filter(|operation| operation.restores())?;
    let phase = operation.phase.parse::<Phase>().ok().filter(|phase| !phase.is_over())?;
    let [database, files] = names(&resource.name_any(), operation);
    Some(Restoring {
        phase,
        uid: operation.uid.clone(),
        set: operation.asked.clone(),
        before: operation.before.as_ref().map(|time| time.0.to_string()),
        leaves_out: asked(observed).find(|asked| asked.uid == operation.uid).is_some_and(|asked| leaves_out(asked.spec)),
        from: from(resource, operation, observed),
        database,
        files,
    })
}

fn leaves_out(spec: &Dhis2RestoreSpec) -> bool {
    spec.unreadable_files == UnreadableFiles::LeaveOut
}

/// Where the set is. Never guessed: a request that is not seen may have named another repository than the instance's.
fn from(resource: &Dhis2Instance, operation: &OperationStatus, observed: &Observed) -> Option<SetSource> {
    if operation.operation() == Some(Operation::Rollback) {
        return Some(SetSource::Own);
    }
    let request = asked(observed).find(|asked| asked.uid == operation.uid)?;
    set_source(resource, request.spec, observed).ok()
}

/// Where the set of a request is.
///
/// # Errors
/// `InvalidSpec` when the instance has no such copy, the other one is not there, or what is named is no address.
pub fn set_source(resource: &Dhis2Instance, spec: &Dhis2RestoreSpec, observed: &Observed) -> Result<SetSource, Refusal> {
    let Some(from) = &spec.from else { return Ok(SetSource::Own) };
    let before = spec.before.as_ref().map(|time| time.0.to_string());
    let (place, named_by, password) = place(resource, from, observed)?;
    let origin = Origin { place, named_by, password, set: spec.set.clone(), before, leaves_out: leaves_out(spec) };
    Ok(SetSource::Other(Box::new(origin)))
}

fn place(resource: &Dhis2Instance, from: &RestoreFrom, observed: &Observed) -> Result<(Place, &'static str, String), Refusal> {
    let named =
        Named { instance: from.instance.as_deref(), repository: from.repository.as_ref(), key: from.password_secret_name.as_deref() };
    if let Some((place, password)) = source::place("from", named, resource, observed)? {
        return Ok((place, named.by("restore"), password));
    }
    let name = from.copy.clone().unwrap_or_default();
    let copy = copies::copies(resource)?.into_iter().find(|copy| copy.name == name).ok_or_else(|| {
        let message =
            format!("spec.from.copy: the instance has no copy {name:?} in spec.backup.copies: name one of those, or a repository");
        Refusal::new(Reason::InvalidSpec, message)
    })?;
    Ok((Place::S3(copy.bucket), "copy", copy.password))
}

/// Names of the claims that an operation fills or goes back to: database, files.
pub fn names(instance: &str, operation: &OperationStatus) -> [String; 2] {
    let claims = operation.claims.clone().unwrap_or_default();
    let number = operation.number;
    let name = |made: Option<Made>, part: &str| made.map_or_else(|| format!("{instance}-{part}-{number}"), |made| made.name);
    [name(claims.database, "database"), name(claims.files, "files")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::restore::Dhis2RestoreStatus,
        operator::{
            kind::Kind,
            others::Elsewhere,
            slot::{Facts, Request, fixture::owned},
        },
    };
    use serde_json::{Value, json};

    fn resource(kind: &str) -> Dhis2Instance {
        let s3 = json!({"bucket": "sets", "endpoint": "https://away.example.org", "credentials": {"secretName": "s3"}});
        let copies = json!([{"name": "away", "passwordSecretName": "away-key", "s3": s3}]);
        let operation = json!({"kind": kind, "name": "back", "uid": "request", "phase": "Building", "asked": "kept"});
        serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "namespace": "hmis"},
            "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}, "backup": {"copies": copies}},
            "status": {"operation": operation}
        }))
        .unwrap()
    }

    fn asking(from: &Value) -> Observed {
        asking_for(&json!({"instance": "play", "set": "kept", "from": from}))
    }

    fn asking_for(spec: &Value) -> Observed {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        let request = Request { spec, status: Dhis2RestoreStatus::default(), generation: Some(1), created: None };
        let mut observed = Observed::default();
        observed.children.insert(Kind::Dhis2Restore, "back", owned("request", "", Facts::Restore(Box::new(request))));
        observed
    }

    fn source(resource: &Dhis2Instance, observed: &Observed) -> Option<SetSource> {
        restoring(resource, observed).unwrap().from
    }

    #[test]
    fn a_set_is_where_the_request_says() {
        let resource = resource("Restore");
        assert_eq!(source(&resource, &asking(&Value::Null)), Some(SetSource::Own));
        let Some(SetSource::Other(origin)) = source(&resource, &asking(&json!({"copy": "away"}))) else { panic!("not of the copy") };
        let Place::S3(bucket) = &origin.place else { panic!("{origin:?}") };
        assert_eq!(bucket.url, "s3:https://away.example.org/sets/hmis/play");
        assert_eq!((origin.named_by, origin.password.as_str(), origin.set.as_deref()), ("copy", "away-key", Some("kept")));
        let of_other = json!({"repository": {"volumeClaim": "other-backups"}, "passwordSecretName": "other-backup"});
        let Some(SetSource::Other(origin)) = source(&resource, &asking(&of_other)) else { panic!("not of the other one") };
        assert_eq!(
            (origin.place, origin.named_by, origin.password.as_str()),
            (Place::Claim("other-backups".into()), "restore", "other-backup")
        );
    }

    #[test]
    fn an_instance_stands_for_its_repository_and_key() {
        let resource = resource("Restore");
        let mut observed = asking(&json!({"instance": "other"}));
        assert_eq!(source(&resource, &observed), None, "it is not there");
        let spec = asked(&observed).next().unwrap().spec.clone();
        let refusal = set_source(&resource, &spec, &observed).unwrap_err();
        assert!(refusal.message.starts_with("spec.from.instance: there is no Dhis2Instance other"), "{}", refusal.message);
        let repository = serde_json::from_value(json!({"volumeClaim": "other-backups"})).unwrap();
        observed.others.insert("other".into(), Elsewhere { repository, password: "other-backup".into() });
        let Some(SetSource::Other(origin)) = source(&resource, &observed) else { panic!("not of the other one") };
        assert_eq!(
            (origin.place, origin.named_by, origin.password.as_str()),
            (Place::Claim("other-backups".into()), "instance", "other-backup")
        );
    }

    #[test]
    fn files_that_could_not_be_read_are_left_out_where_the_request_says_so() {
        let resource = resource("Restore");
        for from in [Value::Null, json!({"copy": "away"})] {
            assert!(!restoring(&resource, &asking(&from)).unwrap().leaves_out);
            let asked = asking_for(&json!({"instance": "play", "set": "kept", "from": from, "unreadableFiles": "LeaveOut"}));
            let restoring = restoring(&resource, &asked).unwrap();
            assert!(restoring.leaves_out);
            if let Some(SetSource::Other(origin)) = restoring.from {
                assert!(origin.leaves_out);
            }
        }
    }

    #[test]
    fn it_is_never_guessed() {
        let resource = resource("Restore");
        assert_eq!(source(&resource, &Observed::default()), None, "the request is not seen");
        assert_eq!(source(&resource, &asking(&json!({"copy": "gone"}))), None);
        assert_eq!(source(&self::resource("Rollback"), &Observed::default()), Some(SetSource::Own), "nobody asked for it");
    }
}
