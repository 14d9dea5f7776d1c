//! Many instances of the default shape, over fifty namespaces.

use std::ops::Range;

use dhis2_operator::api::Dhis2Instance;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::rig::Rig;
use crate::site::Outcome;

/// So many namespaces.
const NAMESPACES: usize = 50;

/// Requests under way at a time of whoever makes or changes a crowd.
const AT_A_TIME: usize = 8;

/// The namespace of an instance.
pub fn namespace(number: usize) -> String {
    format!("crowd-{:02}", number % NAMESPACES)
}

/// The name of an instance.
pub fn name(number: usize) -> String {
    format!("i{number:05}")
}

/// An instance of the default shape.
///
/// # Errors
/// When it is none, which a change of its type could bring.
pub fn instance(number: usize) -> serde_json::Result<Dhis2Instance> {
    let name = name(number);
    serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
        "metadata": { "name": name, "namespace": namespace(number) },
        "spec": { "version": "2.42.4.1", "web": { "host": format!("{name}.example.org") } }
    }))
}

/// Makes the namespaces.
///
/// # Errors
/// What the API server says.
pub async fn namespaces(rig: &Rig) -> Outcome {
    stream::iter(0..NAMESPACES)
        .map(|number| async move { rig.namespace(&namespace(number)).await })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// Makes these instances.
///
/// # Errors
/// What the API server says.
pub async fn create(client: &Client, numbers: Range<usize>) -> Outcome {
    let create = async |number: usize| {
        let api: Api<Dhis2Instance> = Api::namespaced(client.clone(), &namespace(number));
        api.create(&PostParams::default(), &instance(number)?).await?;
        Ok(())
    };
    stream::iter(numbers).map(create).buffer_unordered(AT_A_TIME).try_collect().await
}

/// Changes these instances by a merge patch.
///
/// # Errors
/// What the API server says.
pub async fn change(client: &Client, numbers: Range<usize>, patch: &Value) -> Outcome {
    let change = async |number: usize| {
        let api: Api<Dhis2Instance> = Api::namespaced(client.clone(), &namespace(number));
        api.patch(&name(number), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    };
    stream::iter(numbers).map(change).buffer_unordered(AT_A_TIME).try_collect().await
}
