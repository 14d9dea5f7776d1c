//! The raw writer: sends the objects of some instances, and does nothing else. All is made ready before it begins, so that it needs
//! no time but that of its requests.

use std::io::Write;

use dhis2_operator::operator::settings::Settings;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client, Config};

use super::{children, crowd, stand};
use crate::site::Outcome;

/// As many as the operator: eight instances at a time, and of each eight objects.
const AT_A_TIME: usize = 64;

/// Sends the objects of so many instances.
///
/// # Errors
/// What the API server says.
pub async fn write(settings: &Settings, instances: usize) -> Outcome {
    let mut objects = Vec::new();
    for number in 0..instances {
        let mut resource = crowd::instance(number)?;
        resource.metadata.uid = Some(format!("00000000-0000-0000-0000-{number:012}"));
        for wish in children::wanted(&resource, settings)? {
            let object: DynamicObject = serde_json::from_value(children::sent(&wish)?)?;
            objects.push((wish.kind.resource(), crowd::namespace(number), object));
        }
    }
    let client = client().await?;
    let parameters = PostParams { field_manager: Some("raw".to_owned()), ..PostParams::default() };
    println!("{}", stand::READY);
    std::io::stdout().flush()?;
    let send = |(resource, namespace, object): (ApiResource, String, DynamicObject)| {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let parameters = &parameters;
        async move { api.create(parameters, &object).await.map(|_| ()) }
    };
    stream::iter(objects).map(send).buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
    Ok(())
}

/// A client as the operator makes it.
///
/// # Errors
/// When there is no cluster.
pub async fn client() -> Outcome<Client> {
    let mut config = Config::infer().await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
