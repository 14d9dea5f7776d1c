//! Leader: of two operators one works. While an instance is made and changed, the one that leads is killed, told to end, stopped and
//! continued, and cut off; the other one works on in time, nothing is made twice, and whoever led before writes no more.

use std::collections::BTreeMap;
use std::time::Duration;

use dhis2_e2e::site::audit::{self, Log, Request};
use dhis2_e2e::site::chance::Chance;
use dhis2_e2e::site::cut::Cut;
use dhis2_e2e::site::instance::{self, Instance};
use dhis2_e2e::site::operator::{self, Operator, PROGRAM, RELEASE};
use dhis2_e2e::site::{Outcome, Story, process, wait};
use dhis2_operator::api::Dhis2Instance;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::EvictParams;
use kube::{Api, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::json;

/// How long a leader that fell silent is waited for.
const LEASE: SignedDuration = SignedDuration::from_secs(10);
/// What a successor may take beside that until it has the Lease. It is to tell one that waits for nothing from one that waits for the
/// Lease, or twice. What it then lists before its first write is counted: how long that takes is a matter of the machine.
const TAKING: SignedDuration = SignedDuration::from_secs(LEASE.as_secs() / 2);
const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn leader() {
    crate::tell("leader", |story| async move {
        let Some(log) = Log::from_now(&story) else {
            story.tell("left out: it needs our own cluster's audit log, and power over its processes and their network");
            return Ok(());
        };
        let mut values = operator::values(&story, &story.namespace);
        instance::merge(&mut values, &json!({ "replicas": 2, "leaseTtl": LEASE.as_secs() }));
        let operator = Operator::install_in(&story, &story.operator_namespace(), &values).await?;
        one_of_two_may_go(&story, &operator).await?;
        let mut reign = Reign { story: &story, operator: &operator, instance: story.instance("play"), rounds: Vec::new() };
        reign.is_killed().await?;
        reign.is_told_to_end().await?;
        reign.is_stopped_and_continued().await?;
        reign.is_cut_off().await?;
        reign.instance.settled().await?;
        reign.judge(&log)
    });
}

/// A drain takes one of the two, and has to wait with the other.
async fn one_of_two_may_go(story: &Story, operator: &Operator) -> Outcome {
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(story.client.clone(), &story.operator_namespace());
    let allows = |budget: &PodDisruptionBudget| budget.status.as_ref().is_some_and(|status| status.disruptions_allowed == 1);
    wait::until(&budgets, RELEASE, "one of two to be dispensable", LIMIT, allows).await?;
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.operator_namespace());
    let names: Vec<String> = operator.living().await?.iter().map(ResourceExt::name_any).collect();
    let [one, other] = names.as_slice() else {
        return Err(format!("two operators were asked for, there are {names:?}").into());
    };
    pods.evict(one, &EvictParams::default()).await?;
    let answer = pods.evict(other, &EvictParams::default()).await;
    assert!(matches!(&answer, Err(kube::Error::Api(status)) if status.code == 429), "both may go at once: {answer:?}");
    wait::gone(&pods, one, LIMIT).await?;
    operator.ready().await
}

/// A leader that lost its place, and who came after it.
struct Round {
    what: &'static str,
    began: Timestamp,
    old: String,
    new: String,
    /// How long it may take until the new one has the Lease.
    limit: SignedDuration,
}

struct Reign<'a> {
    story: &'a Story,
    operator: &'a Operator,
    instance: Instance,
    rounds: Vec<Round>,
}

impl Reign<'_> {
    /// While an instance is being made.
    async fn is_killed(&mut self) -> Outcome {
        let old = self.operator.leads("").await?;
        self.instance.apply(&self.story.small_manifest("play", &json!({}))).await?;
        let at_work = |seen: &Dhis2Instance| seen.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
        self.instance.when("the first objects to be made", at_work).await?;
        let began = Timestamp::now();
        self.operator.kill(self.story, &old).await?;
        self.succeeded("killed", began, old, LEASE + TAKING).await?;
        self.operator.ready().await
    }

    async fn is_told_to_end(&mut self) -> Outcome {
        let old = self.operator.leads("").await?;
        let began = Timestamp::now();
        self.operator.signal(&old, Signal::SIGTERM).await?;
        self.succeeded("told to end", began, old, TAKING).await?;
        self.operator.ready().await
    }

    /// At a random moment of its work. Continued, it finds its watches full of news, and the time of its Lease over.
    async fn is_stopped_and_continued(&mut self) -> Outcome {
        let old = self.operator.leads("").await?;
        let uid = self.operator.uid(&old).await?;
        let stopped = process::of(&uid, PROGRAM)?;
        let mut chance = Chance::new();
        self.story.tell(&format!("E2E_SEED={}", chance.seed));
        self.change().await?;
        // The moment is what it is about.
        tokio::time::sleep(chance.moment(300)).await;
        let began = Timestamp::now();
        self.operator.signal(&old, Signal::SIGSTOP).await?;
        self.succeeded("stopped", began, old.clone(), LEASE + TAKING).await?;
        self.operator.signal(&old, Signal::SIGCONT).await?;
        let ended = async || {
            let running = process::of(&uid, PROGRAM).map_err(|error| error.to_string())?;
            if running.iter().any(|process| stopped.contains(process)) { Err("it runs") } else { Ok(()) }.map_err(str::to_owned)
        };
        wait::ask("the one that was stopped to end itself", LIMIT, ended).await?;
        self.operator.ready().await
    }

    async fn is_cut_off(&mut self) -> Outcome {
        let old = self.operator.leads("").await?;
        let uid = self.operator.uid(&old).await?;
        let cut_off = process::of(&uid, PROGRAM)?;
        let began = Timestamp::now();
        let cut = Cut::off(&uid, PROGRAM)?;
        self.succeeded("cut off", began, old, LEASE + TAKING).await?;
        let left = process::of(&uid, PROGRAM)?;
        assert!(!left.iter().any(|process| cut_off.contains(process)), "it goes on without the API server, though another one leads");
        cut.heal()?;
        self.operator.ready().await
    }

    /// There is something to do; another one leads, and does it.
    async fn succeeded(&mut self, what: &'static str, began: Timestamp, old: String, limit: SignedDuration) -> Outcome {
        let changed = self.change().await?;
        let new = self.operator.leads(&old).await?;
        let seen = |seen: &Dhis2Instance| seen.status.as_ref().is_some_and(|status| status.observed_generation >= changed);
        self.instance.when("the successor to act", seen).await?;
        self.rounds.push(Round { what, began, old, new, limit });
        Ok(())
    }

    /// A change that restarts nothing, and begins no step of the making anew. Returns the generation that it makes.
    async fn change(&self) -> Outcome<Option<i64>> {
        let generation = self.instance.api.get(&self.instance.name).await?.metadata.generation.unwrap_or_default();
        let changed = self.instance.change(&json!({ "backup": { "retention": { "last": 3 + generation } } })).await?;
        Ok(changed.metadata.generation)
    }

    /// What the audit log says of it all.
    fn judge(&self, log: &Log) -> Outcome {
        let user = self.operator.user();
        let (requests, leases) = (log.requests(&user)?, log.of_leases(&user)?);
        let ends = self.rounds.iter().skip(1).map(|round| round.began).chain([Timestamp::MAX]);
        for (round, end) in self.rounds.iter().zip(ends) {
            let of_round = |all: &[Request]| -> Vec<Request> {
                all.iter().filter(|request| (round.began..end).contains(&request.at)).cloned().collect()
            };
            self.judge_round(round, &of_round(&requests), &of_round(&leases))?;
        }
        let writes = requests.iter().filter(|request| request.writes());
        let made = writes.filter(|write| write.verb == "create" && write.succeeded() && write.object().resource != "events");
        let mut times = BTreeMap::<String, usize>::new();
        for object in made {
            *times.entry(format!("{} {}", object.what(), object.object().name)).or_default() += 1;
        }
        self.story.tell(&format!("{} objects were made under {} leaders", times.len(), self.rounds.len() + 1));
        times.retain(|_, times| *times > 1);
        assert!(times.is_empty(), "made twice: {times:?}");
        Ok(())
    }

    fn judge_round(&self, round: &Round, requests: &[Request], leases: &[Request]) -> Outcome {
        let Round { what, began, old, new, limit } = round;
        let took_it = |lease: &&Request| lease.pod() == new && lease.writes() && lease.succeeded();
        let leads = leases.iter().find(took_it).ok_or_else(|| format!("{what}: {new} did not take the Lease"))?.done;
        let took = leads.duration_since(*began);
        let writes = || requests.iter().filter(|request| request.writes());
        let first = writes().find(|write| write.pod() == new).ok_or_else(|| format!("{what}: {new} wrote nothing"))?;
        let lists: Vec<Request> = requests
            .iter()
            .filter(|list| list.pod() == new && list.verb == "list" && (leads..first.at).contains(&list.at))
            .cloned()
            .collect();
        let mut twice = audit::count(&lists, |list| list.uri.clone());
        self.story.tell(&format!(
            "{what}: {new} has the Lease {:.2} s later, and acts {:.2} s after that and {} lists, with {}",
            took.as_secs_f64(),
            first.at.duration_since(leads).as_secs_f64(),
            lists.len(),
            first.what()
        ));
        assert!(took <= *limit, "{what}: the successor had the Lease after {took}, longer than {limit}");
        twice.retain(|_, times| *times > 1);
        assert!(!lists.is_empty() && twice.is_empty(), "{what}: listed more than once before the first write, or nothing: {twice:?}");
        // What was on its way when the line was cut arrives when it is mended, and is refused: it names the state it was meant for.
        let others = writes().filter(|write| write.pod() != new && write.at >= leads);
        let late: Vec<String> = others.filter(|write| write.succeeded()).map(told).collect();
        assert!(late.is_empty(), "{what}: {old} led before {new}, and still wrote: {late:?}");
        Ok(())
    }
}

fn told(write: &Request) -> String {
    format!("{} {} at {}", write.what(), write.object().name, write.at)
}
