//! The image of the stand-in, laid out as DHIS2's: what is in it, and its configuration. Paths, user, port and variables:
//! dhis2-core's image build at 2.42, read.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::version::{LIBRARIES, Version};

/// User and group that DHIS2's images run as.
pub const USER: u32 = 65534;
/// Tomcat's home in the image.
const TOMCAT: &str = "usr/local/tomcat";

/// A file or folder of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path without leading slash.
    pub path: PathBuf,
    /// What is there.
    pub content: Content,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: u32,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A folder.
    Folder,
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// A copy of a file outside.
    Copy(PathBuf),
}

/// All entries of the image of `version`; `program` is the stand-in, linked statically.
pub fn entries(version: Version, program: &Path) -> Vec<Entry> {
    let folder = |path: &str, mode, owner| Entry { path: path.into(), content: Content::Folder, mode, owner };
    let file = |path: String, content, mode| Entry { path: path.into(), content, mode, owner: 0 };
    let passwd = "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    let mut entries = vec![
        folder("etc", 0o755, 0),
        file("etc/passwd".into(), Content::Bytes(passwd.into()), 0o644),
        file("etc/group".into(), Content::Bytes("root:x:0:\nnogroup:x:65534:\n".into()), 0o644),
        folder("tmp", 0o1777, 0),
        folder("opt", 0o755, 0),
        folder("opt/dhis2", 0o755, USER),
    ];
    let mut path = String::new();
    for part in format!("{TOMCAT}/{LIBRARIES}").split('/') {
        path = if path.is_empty() { part.to_owned() } else { format!("{path}/{part}") };
        entries.push(folder(&path, 0o755, 0));
    }
    entries.push(file(format!("{path}/dhis-api-{version}.jar"), Content::Bytes(Vec::new()), 0o644));
    entries.push(folder(&format!("{TOMCAT}/bin"), 0o755, 0));
    entries.push(file(format!("{TOMCAT}/bin/catalina.sh"), Content::Copy(program.to_owned()), 0o755));
    for name in ["logs", "temp", "work"] {
        entries.push(folder(&format!("{TOMCAT}/{name}"), 0o1777, USER));
    }
    entries
}

/// The `config` of the image's OCI configuration. `seconds` are the durations that are baked in, as in `START`: 3.
pub fn config(version: Version, seconds: &[(&str, f64)]) -> Value {
    let mut env = vec![
        "PATH=/usr/local/tomcat/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "CATALINA_HOME=/usr/local/tomcat".to_owned(),
        "CATALINA_OPTS=-Dcontext.path=''".to_owned(),
        "DHIS2_HOME=/opt/dhis2".to_owned(),
    ];
    env.extend(seconds.iter().map(|(name, value)| format!("STANDIN_{name}_SECONDS={value}")));
    json!({
        "User": format!("{USER}:{USER}"),
        "WorkingDir": "/usr/local/tomcat",
        "Cmd": ["catalina.sh", "run"],
        "ExposedPorts": { "8080/tcp": {} },
        "Env": env,
        "Labels": {
            "DHIS2_VERSION": version.to_string(),
            "DHIS2_BUILD_REVISION": "standin",
            "DHIS2_BUILD_BRANCH": format!("2.{}", version.major),
        },
    })
}

/// The durations of images for tests.
pub const QUICK: &[(&str, f64)] =
    &[("PORT", 0.5), ("START", 3.0), ("MIGRATE", 2.0), ("FAIL", 4.0), ("ANALYTICS_WAIT", 1.0), ("ANALYTICS", 3.0), ("STOP", 0.5)];

/// The repository part of the image's name; the tag is [`tag`].
pub const NAME: &str = "localhost/dhis2-standin";

/// The tag as DHIS2 tags its images: always four numbers.
pub fn tag(version: Version) -> String {
    format!("2.{}.{}.{}", version.major, version.patch, version.hotfix)
}

/// Lays the image out as a folder. Owners are set, which takes root.
///
/// # Errors
/// When something can't be written.
pub fn lay_out(version: Version, program: &Path, root: &Path) -> io::Result<()> {
    for entry in entries(version, program) {
        let path = root.join(&entry.path);
        match &entry.content {
            Content::Folder => fs::create_dir_all(&path)?,
            Content::Bytes(bytes) => fs::write(&path, bytes)?,
            Content::Copy(from) => copy(from, &path)?,
        }
        fs::set_permissions(&path, Permissions::from_mode(entry.mode))?;
        chown(&path, Some(entry.owner), Some(entry.owner))?;
    }
    Ok(())
}

/// In a process of its own: a child that this one begins while it has the file open for writing would have it open as well for a
/// moment, and the program could not be run ("text file busy").
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let copied = Command::new("cp").arg(from).arg(to).status()?;
    if copied.success() { Ok(()) } else { Err(io::Error::other(format!("cp {} failed", from.display()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_folder_before_it() {
        let entries = entries("2.43.1.0".parse().unwrap(), Path::new("/standin"));
        for (at, entry) in entries.iter().enumerate() {
            let parent = entry.path.parent().unwrap();
            let known = entries[..at].iter().any(|before| before.path == parent && before.content == Content::Folder);
            assert!(parent == Path::new("") || known, "{}", entry.path.display());
        }
        let jar = Path::new("usr/local/tomcat/webapps/ROOT/WEB-INF/lib/dhis-api-2.43.1.jar");
        assert!(entries.iter().any(|entry| entry.path == jar));
        assert_eq!(tag("2.43.1".parse().unwrap()), "2.43.1.0");
    }
}
