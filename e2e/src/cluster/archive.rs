//! What an OCI archive tells of the image in it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::files;

/// What containerd names an image by.
pub const NAME: &str = "io.containerd.image.name";

/// What others name an image by.
pub const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// Why an archive can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It can't be read.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// It holds no image with a name.
    #[error("{} is no OCI archive with a named image: index.json needs the annotation {NAME}", .0.display())]
    Unnamed(PathBuf),
}

/// The first image of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name as the archive tells it; some tools write the tag only.
    pub told: String,
    /// The digest of its manifest.
    pub digest: String,
}

impl Named {
    /// Reads it from an archive.
    pub fn read(archive: &Path) -> Result<Self, Unusable> {
        let index = index(archive).map_err(|e| files::Error::new("read the image", archive, e))?;
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap_or_default();
        let text = |pointer: &str| Some(index.pointer(pointer)?.as_str()?.to_owned());
        let annotation = |name: &str| text(&format!("/manifests/0/annotations/{name}"));
        annotation(NAME)
            .or_else(|| annotation(REFERENCE))
            .zip(text("/manifests/0/digest"))
            .map(|(told, digest)| Self { told, digest })
            .ok_or_else(|| Unusable::Unnamed(archive.to_owned()))
    }

    /// Whether the archive tells a tag and no name.
    pub fn is_tag(&self) -> bool {
        !self.told.contains(['/', ':'])
    }

    /// The name that a pod calls it by: written out as the kubelet does.
    pub fn reference(&self) -> String {
        if self.is_tag() {
            return format!("{UNNAMED}:{}", self.told);
        }
        match self.told.split_once('/') {
            None => format!("docker.io/library/{}", self.told),
            Some((host, _)) if host == "localhost" || host.contains(['.', ':']) => self.told.clone(),
            Some(_) => format!("docker.io/{}", self.told),
        }
    }
}

/// The name for images whose archive tells a tag only.
pub const UNNAMED: &str = "localhost/imported";

fn index(archive: &Path) -> io::Result<Vec<u8>> {
    let mut tar = tar::Archive::new(File::open(archive)?);
    let mut index = Vec::new();
    for entry in tar.entries_with_seek()? {
        let mut entry = entry?;
        let path = entry.path()?;
        if path.strip_prefix(".").unwrap_or(&path) == Path::new("index.json") {
            entry.read_to_end(&mut index)?;
            break;
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_without_a_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("image.tar");
        tar::Builder::new(File::create(&archive).unwrap()).finish().unwrap();
        assert!(matches!(Named::read(&archive), Err(Unusable::Unnamed(_))));
    }

    #[test]
    fn names_are_written_out_as_the_kubelet_does() {
        let written = |told: &str| {
            let (told, digest) = (told.to_owned(), String::new());
            Named { told, digest }.reference()
        };
        assert_eq!(written("docker.io/dhis2/core:2.42"), "docker.io/dhis2/core:2.42");
        assert_eq!(written("dhis2/core:2.42"), "docker.io/dhis2/core:2.42");
        assert_eq!(written("core:2.42"), "docker.io/library/core:2.42");
        assert_eq!(written("localhost/core:2.42"), "localhost/core:2.42");
        assert_eq!(written("registry:5000/core:2.42"), "registry:5000/core:2.42");
        assert_eq!(written("2.42"), "localhost/imported:2.42");
    }
}
