//! Lock files of a server that was killed. PostgreSQL asks only whether a process of their number lives, and in a container that is
//! started again one does: numbers are small there, and those of threads count. It would refuse to start, for ever.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const SERVER: &str = "postgres";

/// The lock file of a data directory.
pub fn of_data(pgdata: &Path) -> PathBuf {
    pgdata.join("postmaster.pid")
}

/// The lock file of the socket in a directory.
pub fn of_socket(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}.lock"))
}

/// Removes a lock file unless a server of its number lives. The caller holds the lock of the volume: no other pod of the node serves
/// from it.
pub fn clear(path: &Path) -> io::Result<()> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    let number = text.lines().next().unwrap_or_default().trim();
    // What has ended and was not taken note of runs no program.
    let program = fs::read_link(format!("/proc/{number}/exe"));
    let lives = program.is_ok_and(|program| program.file_name().is_some_and(|name| name == SERVER));
    if lives { Ok(()) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_of_a_server_that_is_gone_goes() {
        let pgdata = tempfile::tempdir().unwrap();
        let path = of_data(pgdata.path());
        clear(&path).unwrap();
        // This thread lives, and is no server; nor is what has no number.
        for number in [nix::unistd::gettid().to_string(), i32::MAX.to_string(), String::new()] {
            fs::write(&path, format!("{number}\n/data/pgdata\n")).unwrap();
            clear(&path).unwrap();
            assert!(!path.exists(), "{number}");
        }
    }
}
