//! helm: the charts of this checkout on a site.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Site, checkout};
use crate::cluster::cache::Cache;
use crate::cluster::programs::Program;
use crate::cluster::{build, run};

/// Name of the release of the definitions.
pub const DEFINITIONS: &str = "dhis2-operator-crds";
/// Namespace of that release. It stays, as the definitions do.
pub const DEFINITIONS_NAMESPACE: &str = "dhis2-operator-crds";
/// The chart of the operator.
pub const OPERATOR_CHART: &str = "charts/dhis2-operator";
/// The chart of the definitions.
pub const DEFINITIONS_CHART: &str = "charts/dhis2-operator-crds";

/// helm, built when it is not in the cache.
pub fn program(cache: &Cache) -> Result<PathBuf, Error> {
    let missing = || Error::Variable { name: "PATH", value: String::new(), wrong: "no module builds helm".to_owned() };
    let program = Program::named("helm").ok_or_else(missing)?;
    Ok(build::program(cache, program)?.join("helm"))
}

impl Site {
    /// helm against this site, without the settings of whoever runs the tests.
    pub fn helm(&self) -> Command {
        let mut command = Command::new(&self.helm);
        let home = self.logs.join("helm");
        command.env("KUBECONFIG", &self.kubeconfig);
        for folder in ["CACHE", "CONFIG", "DATA"] {
            command.env(format!("HELM_{folder}_HOME"), home.join(folder.to_lowercase()));
        }
        command
    }

    /// Installs or upgrades a release with these values.
    ///
    /// # Errors
    /// What helm says.
    pub fn release(&self, name: &str, namespace: &str, chart: &Path, values: &serde_json::Value) -> Result<String, run::Error> {
        let mut command = self.helm();
        command.args(["upgrade", "--install", name]).arg(chart).args(["--namespace", namespace, "--create-namespace", "--values", "-"]);
        run::feed(&mut command, values.to_string().as_bytes())
    }

    /// Uninstalls a release.
    ///
    /// # Errors
    /// What helm says.
    pub fn uninstall(&self, name: &str, namespace: &str) -> Result<String, run::Error> {
        run::output(self.helm().args(["uninstall", name, "--namespace", namespace, "--wait"]))
    }
}

/// Brings the definitions of this checkout to the site.
pub fn definitions(site: &Site) -> Result<(), run::Error> {
    site.release(DEFINITIONS, DEFINITIONS_NAMESPACE, &checkout(DEFINITIONS_CHART), &serde_json::json!({}))?;
    run::output(site.kubectl().args(["wait", "--for=condition=Established", "--timeout=60s", "crd/dhis2instances.dhis2.hosting"]))?;
    Ok(())
}
