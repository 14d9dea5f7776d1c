//! `examples/everything.yaml`, run: only what the site forces is changed.

use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::instance::{Instance, merge};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, checkout, wait};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::IngressClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};

use super::live;

/// As the example has it.
const HOST: &str = "dhis2.example.org";
const PRIORITY: &str = "dhis2";
/// What the story puts under `ldap.manager.password`.
pub const LDAP_PASSWORD: &str = "told to nobody but DHIS2";

/// Everything that the example says is so, and the instance serves.
pub async fn runs(story: &Story) -> Outcome {
    let ours = priority(story).await?;
    let told = is_served(story).await;
    // It is the whole cluster's: it goes with the story, however that ends.
    if ours {
        Api::<PriorityClass>::all(story.client.clone()).delete(PRIORITY, &DeleteParams::default()).await?;
    }
    told
}

async fn is_served(story: &Story) -> Outcome {
    Operator::install(story).await?;
    let certificate = secrets(story).await?;
    let instance = story.instance("everything");
    let manifest = manifest(story).await?;
    instance.apply(&manifest).await?;
    instance.settled().await?;
    live::is_as_told(story, &manifest).await?;
    serves(story, &instance, &certificate).await?;
    instance.until("BackupHealthy").await?;
    Ok(())
}

/// The example with the images and classes of the site.
async fn manifest(story: &Story) -> Outcome<Value> {
    let site = &story.site;
    let storage = match &site.storage_class {
        Some(class) => class.clone(),
        None => default_of::<StorageClass>(story, "storageclass.kubernetes.io/is-default-class").await?,
    };
    let ingress = match &site.ingress_class {
        Some(class) => class.clone(),
        None => default_of::<IngressClass>(story, "ingressclass.kubernetes.io/is-default-class").await?,
    };
    let class = json!({ "className": storage });
    let forced = json!({ "metadata": { "namespace": story.namespace }, "spec": {
        "version": site.version(),
        "image": { "repository": site.images.dhis2 },
        "web": { "ingress": { "className": ingress } },
        "database": { "bundled": { "image": site.images.postgres, "storage": class } },
        "files": { "volume": class },
        "backup": { "repository": { "volume": class } },
    } });
    let mut manifest: Value = serde_yaml::from_str(&std::fs::read_to_string(checkout("examples/everything.yaml"))?)?;
    merge(&mut manifest, &forced);
    Ok(manifest)
}

/// The class that the cluster takes where none is named.
async fn default_of<K>(story: &Story, annotation: &str) -> Outcome<String>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let classes = Api::<K>::all(story.client.clone()).list(&ListParams::default()).await?;
    let found = classes.items.iter().find(|class| class.annotations().get(annotation).is_some_and(|value| value == "true"));
    Ok(found.ok_or_else(|| format!("no {} of the cluster is the default one", K::kind(&())))?.name_any())
}

/// The priority class that the example names; whether it is the story's own.
async fn priority(story: &Story) -> Outcome<bool> {
    let class: PriorityClass =
        serde_json::from_value(json!({ "metadata": { "name": PRIORITY }, "value": 1000, "preemptionPolicy": "Never" }))?;
    match Api::all(story.client.clone()).create(&PostParams::default(), &class).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The Secrets that the example names. Returns the certificate.
async fn secrets(story: &Story) -> Outcome<String> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()])?;
    let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
    let secrets = [
        ("registry", "kubernetes.io/dockerconfigjson", json!({ ".dockerconfigjson": r#"{"auths":{}}"# })),
        ("dhis2-example-org-tls", "kubernetes.io/tls", json!({ "tls.crt": certificate, "tls.key": key })),
        ("encryption-key", "Opaque", json!({ "password": "a-key-of-the-hosters-own-of-enough-length" })),
        ("ldap", "Opaque", json!({ "password": LDAP_PASSWORD })),
    ];
    let api: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
    for (name, kind, content) in secrets {
        let secret: Secret = serde_json::from_value(json!({ "metadata": { "name": name }, "type": kind, "stringData": content }))?;
        api.create(&PostParams::default(), &secret).await?;
    }
    Ok(certificate)
}

/// With the certificate of the Secret, below the context path, for the password of the Secret.
async fn serves(story: &Story, instance: &Instance, certificate: &str) -> Outcome {
    let door = Door::trusting(&story.site, HOST, certificate)?;
    let admin = instance.admin().await?;
    let ask = |path: &'static str| {
        let (door, admin) = (door.clone(), admin.clone());
        async move {
            let asked = tokio::task::spawn_blocking(move || door.get(Scheme::Https, path, Some(&admin))).await;
            asked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        }
    };
    let served = async || match ask("/hmis/api/me").await? {
        answer if answer.status == 200 => Ok(()),
        other => Err(format!("{}: {}", other.status, other.body)),
    };
    wait::ask("DHIS2 below its context path", std::time::Duration::from_secs(20), served).await?;
    assert_ne!(ask("/api/me").await?.status, 200, "it is served outside its context path too");
    Ok(())
}
