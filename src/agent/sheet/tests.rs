use super::*;
use serde_json::json;

fn secret(name: &str, key: &str, value: &str) -> Value {
    json!({"kind": "Secret", "metadata": {"name": name}, "data": {(key): STANDARD.encode(value)}})
}

fn instance(backup: &Value, status: &Value) -> Value {
    json!({
        "kind": "Dhis2Instance", "metadata": {"name": "play", "namespace": "hmis"}, "spec": {"backup": backup},
        "status": {"backup": status, "url": "https://play.example.org", "version": {"running": "2.42.4.1"}},
    })
}

fn in_bucket() -> (Value, Value) {
    let s3 = json!({"bucket": "sets", "endpoint": "https://s3.example.org", "region": "eu-1", "caSecretName": "s3-ca", "credentials": {"secretName": "s3"}});
    let digest = known_by(&secret::Value::new("the key"));
    (json!({"repository": {"s3": s3}}), json!({"repository": "s3:https://s3.example.org/sets/hmis/play", "key": digest}))
}

fn printed(objects: &[Value]) -> Result<String, String> {
    let list = objects_of(objects).map_err(|error| error.to_string())?;
    let instance = list.iter().find(|object| object["kind"] == "Dhis2Instance").unwrap();
    let places = places(instance, &list).map_err(|error| error.to_string())?;
    Ok(text::sheet(instance, &places, "2026-11-29T12:00:00Z".parse().unwrap()))
}

fn objects_of(items: &[Value]) -> Result<Vec<Value>, Error> {
    objects(&json!({"kind": "List", "items": items}).to_string())
}

#[test]
fn it_holds_all_that_is_needed_and_commands_with_the_names_of_this_instance() {
    let (backup, status) = in_bucket();
    let sheet = printed(&[
        instance(&backup, &status),
        secret("play-backup", "password", "the key"),
        secret("s3-ca", "ca.crt", "-----BEGIN CERTIFICATE-----\nMII\n"),
    ])
    .unwrap();
    for part in [
        "RECOVERY SHEET OF hmis/play",
        "users go to    https://play.example.org",
        "key            the key",
        "-----BEGIN CERTIFICATE-----\nMII\n",
        "kubectl --namespace hmis create secret generic s3 --from-file=accessKeyID",
        "recover --read-only --s3 s3:https://s3.example.org/sets/hmis/play --s3-path-style --s3-ca --s3-region eu-1 > recovered.yaml",
        "restic --repo s3:https://s3.example.org/sets/hmis/play -o s3.bucket-lookup=path --cacert ca.crt --no-lock",
    ] {
        assert!(sheet.contains(part), "{part}\n{sheet}");
    }
    let exported = format!("dhis2.hosting/key-exported={}", known_by(&secret::Value::new("the key")));
    assert!(sheet.ends_with(&format!("{exported}\n")));
}

#[test]
fn a_key_that_opens_nothing_is_not_printed() {
    let (backup, status) = in_bucket();
    let refused = printed(&[instance(&backup, &status), secret("play-backup", "password", "another key")]).unwrap_err();
    assert!(refused.contains("Secret play-backup holds another key") && !refused.contains("another key of"), "{refused}");
    assert!(!refused.contains("the key") || refused.contains("the right one"), "{refused}");
}

#[test]
fn what_is_missing_is_named_with_the_whole_command() {
    let copy = json!({"name": "away", "passwordSecretName": "away-key", "s3": {"bucket": "c", "credentials": {"secretName": "s3"}}});
    let given = [instance(&json!({"copies": [copy]}), &json!({})), secret("play-backup", "password", "the key")];
    let refused = printed(&given).unwrap_err();
    assert!(refused.contains("kubectl get dhis2/play secret/play-backup secret/away-key --namespace hmis --output json"), "{refused}");
    let sheet = printed(&[&given[..], &[secret("away-key", "password", "key of the copy")]].concat()).unwrap();
    assert!(sheet.contains("volume claim play-backups: in the cluster, and lost with it"), "{sheet}");
    assert!(sheet.contains("COPY AWAY") && sheet.contains("key            key of the copy"), "{sheet}");
    assert!(sheet.contains("not known yet"), "{sheet}");
}

#[test]
fn what_is_no_answer_of_kubectl_is_refused() {
    for input in ["", "{}", "apiVersion: v1", "[]"] {
        let found = objects(input).ok().and_then(|objects| objects.into_iter().find(|object| object["kind"] == "Dhis2Instance"));
        assert!(found.is_none(), "{input}");
    }
}
