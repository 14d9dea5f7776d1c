//! Debian packages that the cluster needs on the machine.

use std::process::Command;

use super::run;

/// A package and a file that shows that it is installed.
const NEEDED: &[(&str, &str)] = &[
    ("ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
    ("conntrack", "/usr/sbin/conntrack"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("debootstrap", "/usr/sbin/debootstrap"),
    ("iproute2", "/sbin/ip"),
    ("iptables", "/usr/sbin/iptables"),
    ("mount", "/sbin/losetup"),
    ("nftables", "/usr/sbin/nft"),
    ("runc", "/usr/sbin/runc"),
    ("xfsprogs", "/sbin/mkfs.xfs"),
];

/// What tests without a cluster need: a PostgreSQL with PostGIS of the machine's own Debian, and what signs requests to an S3 server.
const TESTED_WITH: &[(&str, &str)] =
    &[("curl", "/usr/bin/curl"), ("postgresql", "/usr/share/doc/postgresql"), ("postgresql-postgis", "/usr/share/doc/postgresql-postgis")];

/// podman, and what it needs beside it to have pods and ports; runc in place of crun, which takes no control groups of both versions at once.
const PODMAN: &[(&str, &str)] = &[
    ("catatonit", "/usr/bin/catatonit"),
    ("conmon", "/usr/bin/conmon"),
    ("curl", "/usr/bin/curl"),
    ("iptables", "/usr/sbin/iptables"),
    ("netavark", "/usr/lib/podman/netavark"),
    ("podman", "/usr/bin/podman"),
    ("runc", "/usr/sbin/runc"),
];

/// Installs what clusters need and is missing; asks nobody, and nothing when all is there.
pub fn install() -> Result<(), run::Error> {
    install_missing(NEEDED)
}

/// Installs what tests without a cluster need and is missing.
pub fn install_for_tests() -> Result<(), run::Error> {
    install_missing(TESTED_WITH)
}

/// Installs what a machine with podman needs and is missing.
pub fn install_podman() -> Result<(), run::Error> {
    install_missing(PODMAN)
}

fn install_missing(packages: &[(&'static str, &str)]) -> Result<(), run::Error> {
    let missing: Vec<&str> =
        packages.iter().filter(|(_, file)| !std::path::Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!("install {}", missing.join(", "));
    run::follow("read the package lists", apt().arg("update"))?;
    run::follow(&what, apt().args(["install", "-y", "--no-install-recommends"]).args(missing))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// The archive that this machine installs Debian's packages from.
pub fn archive() -> Result<Option<String>, run::Error> {
    let format = "$(REPO_URI) $(LABEL)";
    let targets = run::output(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    Ok(targets.lines().filter_map(|line| line.split_once(' ')).find(|(_, label)| *label == "Debian").map(|(uri, _)| uri.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_for_a_bare_machine_installs_what_its_story_does() {
        let page = include_str!("../../../docs/without-kubernetes.md");
        let line = page.lines().find_map(|line| line.trim().strip_prefix("apt-get install "));
        let mut told: Vec<&str> = line.expect("the page installs packages").split(' ').collect();
        // What podman's package asks for itself.
        told.extend(["conmon", "netavark", "runc"]);
        told.sort_unstable();
        assert_eq!(told, PODMAN.iter().map(|(package, _)| *package).collect::<Vec<_>>());
    }
}
