//! Generated Secrets: made once, with content that is never read, never changed and never made again. Only whether they go
//! with the instance follows the resource.

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
};
use serde_json::{Map, Value, json};

use super::{
    apply::{Brought, Error, Writer, conflict, failed},
    desired::{Generated, Wanted},
    generate::generate,
    kind::Kind,
    observe::SecretSeen,
    ownership::{self, Ownership},
    slot::{Facts, Slot},
};
use crate::api::{INSTANCE, MANAGER, status::Made};

impl Writer<'_> {
    /// Makes a Secret, unless it is recorded: then it exists, or parsing has refused the instance, and its owner is kept as wanted.
    pub(super) async fn generate(&self, wish: &Wanted, values: &[Generated]) -> Result<Brought, Error> {
        if let Some(seen) = self.observed.secrets.get(&wish.name) {
            if has_its_owner(seen, wish) {
                return Ok(made(wish, &seen.uid, false));
            }
            let there = self.secret(wish).await?;
            self.mark("change the owner of", wish, (&seen.uid, there.resource_version.as_deref())).await?;
            return Ok(self.remember(wish, &seen.uid, true));
        }
        self.may_write()?;
        let content = values.iter().map(|value| Ok((value.key.to_owned(), Value::String(generate(value.value)?))));
        let content = content.collect::<Result<Map<_, _>, _>>().map_err(Error::Random)?;
        let mut object = wish.stamped();
        if let Some(fields) = object.as_object_mut() {
            fields.insert("stringData".into(), Value::Object(content));
        }
        let secret: Secret = serde_json::from_value(object).map_err(|source| failed("build", wish, kube::Error::SerdeError(source)))?;
        let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.key.namespace);
        match api.create(&parameters, &secret).await {
            Ok(created) => Ok(self.remember(wish, &created.metadata.uid.unwrap_or_default(), true)),
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.meet_secret(wish).await,
            Err(source) => Err(failed("create", wish, source)),
        }
    }

    /// A Secret of this name exists: ours from before a crash, left by a deleted instance, or foreign.
    async fn meet_secret(&self, wish: &Wanted) -> Result<Brought, Error> {
        let there = self.secret(wish).await?;
        let owner =
            there.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str().into());
        let maker = there.annotations.as_ref().and_then(|annotations| annotations.get(INSTANCE)).map(|maker| maker.as_str().into());
        let (uid, at) = (there.uid.unwrap_or_default(), there.resource_version);
        let slot = Slot {
            uid: uid.as_str().into(),
            version: at.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default(),
            owner,
            maker,
            applied: None,
            deleting: false,
            satisfied: None,
            facts: Facts::Plain,
        };
        match ownership::of(&slot, wish, self.instance) {
            // From before a crash: the resource may ask for another owner by now, which the next pass sees to.
            Ownership::Ours => Ok(self.remember_as(wish, &uid, slot.owner.is_some(), false)),
            Ownership::Retained if self.instance.adopt => {
                self.mark("adopt", wish, (&uid, at.as_deref())).await?;
                Ok(self.remember(wish, &uid, true))
            }
            other => Err(conflict(wish, other, &slot)),
        }
    }

    /// Its metadata.
    async fn secret(&self, wish: &Wanted) -> Result<ObjectMeta, Error> {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &self.key.namespace);
        Ok(api.get(&wish.name).await.map_err(|source| failed("get metadata of", wish, source))?.metadata)
    }

    /// Makes a Secret this instance's, to go with it or to outlive it as is wanted: metadata only, and owners beside it stay. It is the
    /// one that was seen, as it was seen: what arrives late must not make one go with the instance that is to outlive it by now.
    async fn mark(&self, verb: &'static str, wish: &Wanted, (uid, at): (&str, Option<&str>)) -> Result<(), Error> {
        self.may_write()?;
        let owner = match owners(wish) {
            Some(owners) => owners.clone(),
            None => json!([{ "$patch": "delete", "uid": self.instance.uid }]),
        };
        let patch = json!({ "metadata": {
            "uid": uid, "resourceVersion": at, "annotations": { (INSTANCE): self.instance.uid }, "ownerReferences": owner
        } });
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &self.key.namespace);
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        api.patch(&wish.name, &parameters, &Patch::Strategic(&patch)).await.map(|_| ()).map_err(|source| failed(verb, wish, source))
    }

    fn remember(&self, wish: &Wanted, uid: &str, written: bool) -> Brought {
        self.remember_as(wish, uid, is_owned(wish), written)
    }

    fn remember_as(&self, wish: &Wanted, uid: &str, owned: bool, written: bool) -> Brought {
        self.secrets.learn(self.key, &wish.name, SecretSeen { uid: uid.to_owned(), owned: Some(owned) });
        made(wish, uid, written)
    }
}

/// Does a Secret go with the instance, or outlive it, as is wanted?
pub(super) fn has_its_owner(seen: &SecretSeen, wish: &Wanted) -> bool {
    seen.owned.is_none_or(|owned| owned == is_owned(wish))
}

fn owners(wish: &Wanted) -> Option<&Value> {
    wish.object.pointer("/metadata/ownerReferences")
}

fn is_owned(wish: &Wanted) -> bool {
    owners(wish).is_some()
}

fn made(wish: &Wanted, uid: &str, written: bool) -> Brought {
    Brought { written, made: Some((Kind::Secret, Made { name: wish.name.clone(), uid: uid.to_owned() })) }
}
