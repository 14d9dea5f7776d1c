//! What the operator may do, as it was given it: one right at a time, each because it said that it lacks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use dhis2_e2e::site::operator::{Operator, RELEASE};
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::Dhis2Instance;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use kube::api::{ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

const SOON: Duration = Duration::from_mins(1);

/// One right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    verb: String,
    resource: String,
    group: String,
}

/// Where the lack of a right was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Condition,
    Readiness,
    /// Where neither can tell it.
    Log,
}

impl Grant {
    pub fn new(verb: &str, resource: &str, group: &str) -> Self {
        Self { verb: verb.into(), resource: resource.into(), group: group.into() }
    }

    /// Those whose lack the API server's words tell: `… cannot create resource "pods" in API group "" in …`.
    pub fn lacking(text: &str) -> Vec<Self> {
        // Inside a JSON string quotes are escaped.
        let text = text.replace('\\', "");
        let parse = |rest: &str| {
            let (verb, rest) = rest.split_once(" resource \"")?;
            let (resource, rest) = rest.split_once("\" in API group \"")?;
            Some(Self::new(verb, resource, rest.split_once('"')?.0))
        };
        text.split(" cannot ").skip(1).filter_map(parse).collect()
    }

    /// The status is what tells, and events tell of it: their own lack is in the log only. Objects of sets keep the instance from nothing.
    fn is_told_by_the_log(&self) -> bool {
        let of_sets = self.resource == "dhis2backups" && !["get", "list", "watch"].contains(&self.verb.as_str());
        self.resource.ends_with("/status") || self.resource == "events" || of_sets
    }

    /// The question whether this user has it in this namespace.
    fn review(&self, user: &str, namespace: &str) -> SubjectAccessReview {
        let attributes = ResourceAttributes {
            verb: Some(self.verb.clone()),
            resource: Some(self.resource.clone()),
            group: Some(self.group.clone()),
            namespace: Some(namespace.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        SubjectAccessReview { spec, ..SubjectAccessReview::default() }
    }

    fn rule(&self) -> PolicyRule {
        PolicyRule {
            api_groups: Some(vec![self.group.clone()]),
            resources: Some(vec![self.resource.clone()]),
            verbs: vec![self.verb.clone()],
            ..PolicyRule::default()
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(into, "{} {}", self.verb, self.resource)
    }
}

pub struct Ledger<'a> {
    story: &'a Story,
    operator: &'a Operator,
    roles: Api<Role>,
    instances: Api<Dhis2Instance>,
    /// What the chart gives.
    chart: BTreeSet<Grant>,
    given: BTreeMap<Grant, Told>,
    asked_again: u32,
}

impl<'a> Ledger<'a> {
    /// Of what the chart gives to this operator, in the namespace of both.
    pub async fn of(story: &'a Story, operator: &'a Operator) -> Outcome<Self> {
        let roles: Api<Role> = Api::namespaced(story.client.clone(), &story.namespace);
        let mine = ListParams::default().labels(&format!("app.kubernetes.io/instance={RELEASE}"));
        let chart: BTreeSet<Grant> =
            roles.list(&mine).await?.into_iter().flat_map(|role| role.rules.into_iter().flatten()).flat_map(grants).collect();
        assert!(chart.len() > 40, "the chart gives hardly anything: {chart:?}");
        let instances = Api::namespaced(story.client.clone(), &story.namespace);
        Ok(Self { story, operator, roles, instances, chart, given: BTreeMap::new(), asked_again: 0 })
    }

    /// Takes all that the chart gave.
    pub async fn take_all(&self) -> Outcome {
        for name in [RELEASE.to_owned(), format!("{RELEASE}-election")] {
            self.roles.patch(&name, &PatchParams::default(), &Patch::Merge(&json!({ "rules": [] }))).await?;
        }
        Ok(())
    }

    /// Takes one right away again.
    pub async fn take(&mut self, right: &Grant) -> Outcome {
        self.given.remove(right);
        self.write().await?;
        let reviews: Api<SubjectAccessReview> = Api::all(self.story.client.clone());
        let review = right.review(&self.operator.user(), &self.story.namespace);
        let refused = async || match reviews.create(&PostParams::default(), &review).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| !status.allowed) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        Ok(wait::ask("the API server to refuse it", SOON, refused).await?)
    }

    /// Gives one right, whether the operator asked for it or not.
    pub async fn give(&mut self, right: &Grant) -> Outcome {
        self.given.insert(right.clone(), Told::Condition);
        self.write().await
    }

    async fn write(&self) -> Outcome {
        let rules: Vec<PolicyRule> = self.given.keys().map(Grant::rule).collect();
        self.roles.patch(RELEASE, &PatchParams::default(), &Patch::Merge(&json!({ "rules": rules }))).await?;
        Ok(())
    }

    /// Gives what is asked for, and nothing else, until something holds.
    pub async fn until(&mut self, what: &str, limit: Duration, holds: impl AsyncFn() -> Outcome<bool>) -> Outcome {
        let step = async || {
            if holds().await.map_err(|error| error.to_string())? {
                return Ok(());
            }
            self.give_what_is_asked_for().await.map_err(|error| error.to_string())?;
            Err(format!("{} rights were asked for", self.given.len()))
        };
        Ok(wait::ask(what, limit, step).await?)
    }

    async fn give_what_is_asked_for(&mut self) -> Outcome {
        let asked = self.asked().await?;
        let before = self.given.len();
        for (right, told) in &asked {
            assert!(self.chart.contains(right), "the operator needs what the chart does not give: {right}");
            self.given.entry(right.clone()).or_insert(*told);
        }
        if self.given.len() > before {
            self.write().await?;
        }
        // Each refusal makes the operator wait longer before it tries again; a change of the resource is a reason to try at once.
        if asked.iter().any(|(_, told)| *told != Told::Readiness) {
            self.asked_again += 1;
            let patch = json!({ "metadata": { "annotations": { "e2e/asked": self.asked_again.to_string() } } });
            for instance in self.instances.list(&ListParams::default()).await? {
                self.instances.patch(&instance.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
            }
        }
        Ok(())
    }

    /// What the operator says that it lacks. What its log says once and was given since is no lack any more.
    async fn asked(&self) -> Outcome<Vec<(Grant, Told)>> {
        let mut asked = Vec::new();
        for instance in self.instances.list(&ListParams::default()).await? {
            let messages = instance.status.into_iter().flat_map(|status| status.conditions).map(|condition| condition.message);
            asked.extend(messages.flat_map(|message| Grant::lacking(&message)).map(|right| (right, Told::Condition)));
        }
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), &self.story.namespace);
        for pod in self.operator.living().await? {
            let name = pod.name_any();
            let readiness = self.operator.readiness(self.story, &name).await;
            asked.extend(Grant::lacking(&readiness).into_iter().map(|right| (right, Told::Readiness)));
            // A pod that does not run yet has no log.
            let log = pods.logs(&name, &LogParams::default()).await.unwrap_or_default();
            let alone = Grant::lacking(&log).into_iter().filter(|right| right.is_told_by_the_log() && !self.given.contains_key(right));
            asked.extend(alone.map(|right| (right, Told::Log)));
        }
        Ok(asked)
    }

    /// What was asked for is what the chart gives.
    pub fn balance(&self) {
        let given: BTreeSet<Grant> = self.given.keys().cloned().collect();
        let unused: Vec<String> = self.chart.difference(&given).map(Grant::to_string).collect();
        assert!(unused.is_empty(), "the chart gives what is never needed: {unused:?}");
        let by = |told| self.given.values().filter(|by| **by == told).count();
        let (condition, readiness, log) = (by(Told::Condition), by(Told::Readiness), by(Told::Log));
        let lacked = "were lacked and told, one after the other";
        self.story.tell(&format!("{} rights {lacked}: {condition} in conditions, {readiness} at /readyz, {log} in the log", given.len()));
    }
}

/// The rights of a rule, by themselves.
fn grants(rule: PolicyRule) -> Vec<Grant> {
    let (groups, resources) = (rule.api_groups.unwrap_or_default(), rule.resources.unwrap_or_default());
    let pairs = groups.iter().flat_map(|group| resources.iter().map(move |resource| (group, resource)));
    pairs.flat_map(|(group, resource)| rule.verbs.iter().map(move |verb| Grant::new(verb, resource, group))).collect()
}
