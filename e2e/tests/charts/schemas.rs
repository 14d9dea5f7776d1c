//! Both charts linted, and everything that they render held against strict schemas of the API, made from the types of the Kubernetes client.
use std::{fs, path::Path, process::Output};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Pod, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::helm::{chart, everything, helm, kubeconform, rendered};

/// The default or a choice of a field of a custom resource: any JSON, though the API's own description calls it an object.
const ANY: &str = "/definitions/io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";

/// Writes the schema of one kind where kubeconform looks for it.
fn write<K: k8s_openapi::Resource + JsonSchema>(folder: &Path) {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<K>().to_value();
    close(&mut schema);
    if let Some(any) = schema.pointer_mut(ANY) {
        *any = json!(true);
    }
    let group = K::API_VERSION.split('/').next().expect("split yields one");
    let name = format!("{}_{group}_{}.json", K::KIND.to_lowercase(), K::VERSION);
    fs::write(folder.join(name), schema.to_string()).expect("the schema is written");
}

/// The API server drops fields that it does not know; here they are errors.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let open = fields.get("properties").is_some_and(Value::is_object) && !fields.contains_key("additionalProperties");
            fields.values_mut().for_each(close);
            // A field may itself be called `properties`: only where it lies beside a type is it the keyword.
            if open && fields.get("type").is_some_and(|kind| kind == "object") {
                fields.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(close),
        _ => {}
    }
}

fn schemas() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write::<ClusterRole>(folder.path());
    write::<ClusterRoleBinding>(folder.path());
    write::<CustomResourceDefinition>(folder.path());
    write::<Deployment>(folder.path());
    write::<Namespace>(folder.path());
    write::<NetworkPolicy>(folder.path());
    write::<Pod>(folder.path());
    write::<PodDisruptionBudget>(folder.path());
    write::<Role>(folder.path());
    write::<RoleBinding>(folder.path());
    write::<Service>(folder.path());
    write::<ServiceAccount>(folder.path());
    folder
}

fn conform(manifest: &str) -> Output {
    let folder = schemas();
    let file = folder.path().join("manifest.yaml");
    fs::write(&file, manifest).expect("the manifest is written");
    let location = format!("{}/{{{{.ResourceKind}}}}_{{{{.Group}}}}_{{{{.ResourceAPIVersion}}}}.json", folder.path().display());
    kubeconform().args(["-strict", "-summary", "-schema-location", &location]).arg(&file).output().expect("kubeconform starts")
}

fn accept(manifest: &str) {
    let output = conform(manifest);
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

#[test]
fn both_charts_are_without_a_fault() {
    for name in ["dhis2-operator", "dhis2-operator-crds"] {
        let folder = chart(name);
        let output = helm(["lint", "--strict", folder.to_str().expect("a path in UTF-8")]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn with_defaults_it_conforms() {
    accept(&rendered(&[]));
}

#[test]
fn with_everything_set_it_conforms() {
    accept(&rendered(&[&everything()]));
}

#[test]
fn with_everything_that_is_off_turned_on_it_conforms() {
    let on = ["--set", "networkPolicy.enabled=true", "--set", "userRoles=true", "--set", "crds.install=true"];
    accept(&rendered(&[&[everything().as_str()], on.as_slice()].concat()));
}

#[test]
fn a_field_that_the_api_does_not_know_is_found() {
    let wrong = rendered(&[]).replace("automountServiceAccountToken", "automountServiceAccountTokens");
    let output = conform(&wrong);
    assert!(!output.status.success(), "the check lets everything pass");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("automountServiceAccountTokens"), "{said}");
}
