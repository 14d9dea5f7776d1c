//! The cache folder: what is built once for all checkouts of this machine, and the clusters' state.

use std::env;
use std::fmt::Write;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files;

/// Why there is no cache folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither variable is set.
    #[error("set DHIS2_OPERATOR_CACHE or HOME: the cache folder has no place")]
    NoHome,
    /// The folder can't be used.
    #[error(transparent)]
    Files(#[from] files::Error),
}

/// The cache folder, `$DHIS2_OPERATOR_CACHE` or `~/.cache/dhis2-operator`.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    mark: String,
}

/// A lock that is held until it is dropped, or its process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// Finds the folder and makes it.
    pub fn locate() -> Result<Self, Error> {
        let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = set("DHIS2_OPERATOR_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("dhis2-operator")))
            .or_else(|| set("HOME").map(|d| d.join(".cache/dhis2-operator")))
            .ok_or(Error::NoHome)?;
        files::make_folder(&root)?;
        let root = root.canonicalize().map_err(|e| files::Error::new("resolve", &root, e))?;
        Self::at(&root)
    }

    /// The cache in this folder, which is there.
    pub fn at(root: &Path) -> Result<Self, Error> {
        let folder = fs::metadata(root).map_err(|e| files::Error::new("look at", root, e))?;
        // Its path would not do: containers may share control groups, and have the same paths.
        let identity = [folder.dev().to_le_bytes(), folder.ino().to_le_bytes()];
        let mark = key(identity.iter().map(<[u8; 8]>::as_slice)).chars().take(8).collect();
        Ok(Self { root: root.to_owned(), mark })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Built Go programs, a folder for each, named by what it was built from.
    pub fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// Image archives, named by what they were built from.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The state of clusters, a folder for each.
    pub fn clusters(&self) -> PathBuf {
        self.root.join("clusters")
    }

    /// Where builds work; who holds the build lock owns all of it.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Tells this cache's control groups from those of every other cache on the machine.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Takes a lock by name, waiting for whoever holds it.
    pub fn lock(&self, name: &str) -> Result<Lock, Error> {
        let (path, file) = self.lock_file(name)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            eprintln!("waiting for another process that works on {name}");
        }
        file.lock().map_err(|e| files::Error::new("lock", &path, e))?;
        Ok(Lock { _file: file })
    }

    /// Takes a lock by name, unless somebody holds it.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>, Error> {
        let (path, file) = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(files::Error::new("lock", &path, e).into()),
        }
    }

    fn lock_file(&self, name: &str) -> Result<(PathBuf, File), Error> {
        let folder = self.root.join("locks");
        files::make_folder(&folder)?;
        let path = folder.join(name);
        let file = File::create(&path).map_err(|e| files::Error::new("open", &path, e))?;
        Ok((path, file))
    }
}

/// The name of something built: a digest of everything that went into it.
pub fn key<'a>(inputs: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for input in inputs {
        digest.update((input.len() as u64).to_le_bytes());
        digest.update(input);
    }
    hex(&digest.finalize()).chars().take(16).collect()
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_folder_of_the_same_path_is_another_cache() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("cache"), folder.path().join("moved"));
        fs::create_dir(&path).unwrap();
        let first = Cache::at(&path).unwrap();
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        assert_ne!(Cache::at(&path).unwrap().mark(), first.mark());
        assert_eq!(Cache::at(&moved).unwrap().mark(), first.mark());
    }

    #[test]
    fn a_key_tells_inputs_apart_by_their_borders() {
        assert_ne!(key([b"ab".as_slice(), b"c"]), key([b"a".as_slice(), b"bc"]));
        assert_eq!(key([b"ab".as_slice()]).len(), 16);
    }
}
