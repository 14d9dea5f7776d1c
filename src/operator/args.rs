//! Arguments of `dhis2-operator`. Each flag is also an environment variable, and a key of the chart's values, of the same name.
use std::{ffi::OsString, net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use super::telemetry::LogFormat;

/// Runs DHIS2 on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "dhis2-operator", version, disable_help_subcommand = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Option<Command>,
    /// How log lines are written.
    #[arg(long, env, value_enum, global = true, default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: a level, or levels by module, such as info,kube=warn.
    #[arg(long, env, global = true, default_value = "info")]
    pub log_filter: String,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Looks after the instances of a cluster; what it does when nothing else is said.
    Run(Box<Run>),
    /// Prints the custom resource definitions.
    Crd,
    /// Prints every object that the resources of a file become; needs no cluster.
    Render(Box<Render>),
    /// Asks a running operator whether it is ready, and prints what it says.
    Ready(Ready),
}

/// Arguments of `ready`.
#[derive(Debug, ClapArgs)]
pub struct Ready {
    /// Host and port of its probes, such as dhis2-operator:8080.
    pub address: String,
}

/// Flags of `run`.
#[derive(Debug, ClapArgs)]
pub struct Run {
    /// What every instance is given unless it says otherwise.
    #[command(flatten)]
    pub defaults: Defaults,
    /// Namespaces whose instances are looked after, separated by commas; none means all.
    #[arg(long, env, value_delimiter = ',', value_parser = label)]
    pub watch_namespaces: Vec<String>,
    /// How often, in seconds, the names and versions of everything are listed: what a watch should have told and did not is found then.
    #[arg(long, env, default_value = "3600", value_parser = interval)]
    pub relist: Duration,
    /// How many instances are worked on at a time.
    #[arg(long, env, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,
    /// Where probes and metrics are served.
    #[arg(long, env, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Namespace of the Lease by which replicas agree who leads; the pod's own when not given.
    #[arg(long, env, value_parser = label)]
    pub lease_namespace: Option<String>,
    /// Name of that Lease.
    #[arg(long, env, default_value = "dhis2-operator", value_parser = label)]
    pub lease_name: String,
    /// How long a leader that fell silent is waited for, in seconds.
    #[arg(long, env, default_value = "15", value_parser = seconds)]
    pub lease_ttl: Duration,
    /// Name of this pod: who it is in the Lease and in events.
    #[arg(long, env)]
    pub pod_name: String,
}

/// Flags of `render`.
#[derive(Debug, ClapArgs)]
pub struct Render {
    /// What every instance is given unless it says otherwise.
    #[command(flatten)]
    pub defaults: Defaults,
    /// File with resources; `-` is standard input.
    #[arg(short, long = "filename", value_name = "FILE")]
    pub file: PathBuf,
}

/// What every instance is given unless it says otherwise.
#[derive(Debug, Clone, ClapArgs)]
pub struct Defaults {
    /// This program's own image: agent and restic come from it into the pods of instances.
    #[arg(long, env = "OPERATOR_IMAGE", default_value = concat!("dhis2-operator:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// When nodes pull that image.
    #[arg(long, env, value_enum, default_value_t = PullPolicy::IfNotPresent)]
    pub image_pull_policy: PullPolicy,
    /// Where DHIS2 comes from; the version of an instance is the tag.
    #[arg(long, env, default_value = "docker.io/dhis2/core")]
    pub dhis2_repository: String,
    /// Image of the database server, for instances that name none; a change restarts their databases.
    #[arg(long, env, default_value = "docker.io/postgis/postgis:17-3.5")]
    pub postgres_image: String,
    /// cert-manager issuer of the certificates; without one, instances that name none are served over HTTP.
    #[arg(long, env)]
    pub issuer_name: Option<String>,
    /// Kind of that issuer.
    #[arg(long, env, value_enum, default_value_t = IssuerKind::ClusterIssuer)]
    pub issuer_kind: IssuerKind,
    /// Ingress class; the cluster's default class when not given.
    #[arg(long, env, value_parser = label)]
    pub ingress_class: Option<String>,
    /// Namespace of the ingress controller: its pods may connect to DHIS2.
    #[arg(long, env, value_parser = label)]
    pub ingress_namespace: Option<String>,
    /// Addresses that may connect to DHIS2, separated by commas, such as 10.0.0.0/8: for a load balancer that is no pod.
    #[arg(long, env, value_delimiter = ',', value_parser = cidr)]
    pub ingress_cidrs: Vec<String>,
    /// Where the pages about reasons are, which messages name: a folder or an address such as <https://example.org/runbooks>.
    #[arg(long, env, default_value = "docs/runbooks", value_parser = place)]
    pub runbooks: String,
}

/// When nodes pull an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, strum::IntoStaticStr)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// When it is not on the node.
    IfNotPresent,
    /// Never: it must be on the node.
    Never,
}

/// Kind of a cert-manager issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, strum::IntoStaticStr)]
#[value(rename_all = "PascalCase")]
pub enum IssuerKind {
    /// One for the whole cluster.
    ClusterIssuer,
    /// One in the namespace of each instance.
    Issuer,
}

impl Args {
    /// Reads the arguments of the process, or ends it with an explanation.
    pub fn from_process() -> (Self, Command) {
        Self::read(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Reads `arguments`, of which the first is the program's name.
    ///
    /// # Errors
    /// An argument that is not understood, or a plea for help.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<(Self, Command), clap::Error> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        let mut args = Self::try_parse_from(&arguments)?;
        if args.command.is_none() {
            arguments.push("run".into());
            args = Self::try_parse_from(&arguments)?;
        }
        let command = args.command.take().ok_or_else(|| clap::Error::new(clap::error::ErrorKind::MissingSubcommand))?;
        Ok((args, command))
    }
}

/// A name as Kubernetes gives to namespaces: no empty string, which a forgotten template value leaves behind.
fn label(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if text.len() <= 63 && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last()) {
        Ok(text.to_owned())
    } else {
        Err("write a Kubernetes name: lower-case letters, digits and -, at most 63".into())
    }
}

/// A block of addresses.
fn cidr(text: &str) -> Result<String, String> {
    let valid = text.split_once('/').is_some_and(|(address, prefix)| match (address.parse::<IpAddr>(), prefix.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        _ => false,
    });
    if valid { Ok(text.to_owned()) } else { Err("write a block of addresses, such as 10.0.0.0/8 or fd00::/8".into()) }
}

/// A folder or an address that fits into a message.
fn place(text: &str) -> Result<String, String> {
    let fits = (1..=200).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    if fits {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("write a folder or an address, at most 200 characters without spaces".into())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u16>() {
        Ok(seconds @ 5..=300) => Ok(Duration::from_secs(seconds.into())),
        _ => Err("write seconds, from 5 to 300".into()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(seconds @ 10..=86_400) => Ok(Duration::from_secs(seconds.into())),
        _ => Err("write seconds, from 10 to 86400".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(line: &str) -> Result<(Args, Command), clap::Error> {
        Args::read(line.split_whitespace().map(OsString::from))
    }

    fn run(line: &str) -> Run {
        match read(line).unwrap() {
            (_, Command::Run(run)) => *run,
            (_, other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn clap_finds_no_contradiction() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable_too() {
        let command = Args::command();
        let flags = std::iter::once(&command).chain(command.get_subcommands()).flat_map(clap::Command::get_arguments);
        for flag in flags.filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version" | "file" | "address")) {
            assert!(flag.get_env().is_some(), "{}", flag.get_id());
        }
    }

    #[test]
    fn run_is_what_it_does_when_nothing_else_is_said() {
        let missing = read("dhis2-operator run").unwrap_err();
        assert!(missing.to_string().contains("--pod-name"), "{missing}");
        let nothing = read("dhis2-operator").unwrap_err();
        assert!(nothing.to_string().contains("--pod-name"), "{nothing}");
        assert!(matches!(read("dhis2-operator crd").unwrap().1, Command::Crd));
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let run = run("dhis2-operator run --pod-name a");
        assert_eq!(run.defaults.dhis2_repository, "docker.io/dhis2/core");
        assert_eq!(run.defaults.postgres_image, "docker.io/postgis/postgis:17-3.5");
        assert_eq!(run.lease_ttl, Duration::from_secs(15));
        assert!(run.watch_namespaces.is_empty() && run.defaults.issuer_name.is_none());
    }

    #[test]
    fn lists_are_split_and_each_part_is_checked() {
        let run = run("dhis2-operator run --pod-name a --watch-namespaces a,b --ingress-cidrs 10.0.0.0/8,fd00::/8");
        assert_eq!(run.watch_namespaces, ["a", "b"]);
        assert_eq!(run.defaults.ingress_cidrs, ["10.0.0.0/8", "fd00::/8"]);
        for wrong in [
            "--watch-namespaces a,",
            "--watch-namespaces A",
            "--ingress-cidrs 10.0.0.0/33",
            "--ingress-cidrs 10.0.0.0",
            "--lease-ttl 4",
            "--relist 9",
        ] {
            assert!(read(&format!("dhis2-operator run --pod-name a {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn runbooks_are_where_a_message_can_say() {
        let place = |text: &str| read(&format!("dhis2-operator run --pod-name a --runbooks={text}"));
        let Command::Run(run) = place("https://wiki.example.org/dhis2/").unwrap().1 else { panic!("no run") };
        assert_eq!(run.defaults.runbooks, "https://wiki.example.org/dhis2");
        for wrong in ["", "é", &"x".repeat(201)] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn render_takes_the_defaults_and_a_file() {
        let (args, Command::Render(render)) = read("dhis2-operator render -f - --image-pull-policy Never --log-format text").unwrap()
        else {
            panic!("no render");
        };
        assert_eq!((render.file, render.defaults.image_pull_policy), (PathBuf::from("-"), PullPolicy::Never));
        assert_eq!(args.log_format, LogFormat::Text);
    }
}
