//! A rig with an operator that may look after the whole cluster, and fifty empty namespaces.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::account;
use super::contender::{Contender, Running};
use super::crowd;
use super::traffic::Traffic;
use crate::rig::operator::Start;
use crate::rig::process::Process;
use crate::rig::release::Chart;
use crate::rig::{Parts, Release, Rig};
use crate::site::Outcome;

/// Where figures are taken.
pub struct Stand {
    /// What runs.
    pub rig: Rig,
    /// What was asked of it.
    pub traffic: Traffic,
    release: Release,
    authority: String,
    operator: PathBuf,
}

impl Stand {
    /// Builds one up, for this operator.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn build(operator: &Path) -> Outcome<Self> {
        let rig = Rig::start(Parts::default()).await?;
        let traffic = Traffic::of(rig.audit());
        let release = rig.release(&Chart::render(&json!({}))?, "operator").await?;
        crowd::namespaces(&rig).await?;
        let authority = std::fs::read_to_string(rig.keys().path("ca.crt"))?;
        Ok(Self { rig, traffic, release, authority, operator: operator.to_owned() })
    }

    /// Who the operator is for the API server.
    pub fn user(&self) -> String {
        self.release.user()
    }

    /// Its settings, as the chart gives them.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// How the operator is started.
    ///
    /// # Errors
    /// When its kubeconfig can't be written.
    pub fn start(&self) -> Outcome<Start> {
        let kubeconfig = self.rig.kubeconfig(&self.release, self.rig.server(), &self.authority)?;
        Ok(Start::new(&self.operator, &self.release, &kubeconfig, "operator-0", &self.rig.folder().join("operator.log")))
    }

    /// Starts the operator, or what it is compared with.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn run(&self, contender: Contender, instances: usize) -> Outcome<Running> {
        let verb = match contender {
            Contender::Operator => {
                let mut operator = self.start()?.start().await?;
                operator.ready("ready: leading").await?;
                return Ok(Running::Operator { operator, user: self.user() });
            }
            Contender::Twin => "twin",
            Contender::Raw => "raw",
        };
        let account = account::make(&self.rig, verb, &self.release).await?;
        let kubeconfig = self.rig.kubeconfig(&account, self.rig.server(), &self.authority)?;
        let mut environment: Vec<(String, String)> = account.environment.clone().into_iter().collect();
        environment.push(("KUBECONFIG".to_owned(), kubeconfig.to_string_lossy().into_owned()));
        let log = self.rig.folder().join(format!("{verb}.log"));
        let mut arguments = vec![verb.to_owned()];
        if contender == Contender::Raw {
            arguments.push(instances.to_string());
        }
        let mut process = Process::start(&std::env::current_exe()?, &arguments, &environment, &log)?;
        until_said(&mut process, READY).await?;
        Ok(Running::Other { process, user: account.user() })
    }
}

/// What the twin and the raw writer say when they are ready to begin.
pub const READY: &str = "ready";

/// How long that may take.
const LIMIT: Duration = Duration::from_mins(2);

async fn until_said(process: &mut Process, word: &str) -> Outcome {
    let said = async {
        loop {
            let said = std::fs::read_to_string(process.log()).unwrap_or_default();
            if said.lines().any(|line| line == word) {
                return Ok(());
            }
            if process.ended().is_some() {
                return Err(said);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    Ok(tokio::time::timeout(LIMIT, said).await.map_err(|_| format!("it is not {word} within {} s", LIMIT.as_secs()))??)
}
