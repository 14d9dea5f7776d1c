//! Writes images without a builder: an OCI archive whose bytes depend on nothing but what goes in.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::archive::{NAME, REFERENCE};
use super::cache::hex;
use super::files;

/// What a container of the image runs, and as whom.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// `uid:gid`, or a name that the image's `/etc/passwd` knows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its arguments, unless the pod says others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Where it starts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
}

/// What an entry of a layer holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A folder.
    Folder,
    /// The content of a file of this machine.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A symbolic link to a path.
    Link(PathBuf),
}

/// A file, folder or link of an image.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path in the image, without the leading slash.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// User and group that own it.
    pub owner: (u32, u32),
    /// What it holds.
    pub content: Content,
}

impl Entry {
    /// An entry that root owns.
    pub fn new(path: &str, mode: u32, content: Content) -> Self {
        Self { path: PathBuf::from(path.trim_start_matches('/')), mode, owner: (0, 0), content }
    }

    /// A file of this machine that root owns, for all to read, and to run if anybody may run it here:
    /// the rest of its mode depends on who built it.
    pub fn of_file(from: &Path, to: &str) -> Result<Self, files::Error> {
        let told = fs::metadata(from).map_err(|e| files::Error::new("stat", from, e))?;
        let mode = if told.mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        Ok(Self::new(to, mode, Content::File(from.to_owned())))
    }

    /// The same entry with another owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        self.owner = (uid, gid);
        self
    }
}

/// Everything below a folder of this machine with its owners and modes, without what the kernel
/// fills (`/dev`, `/proc`, `/sys`) and without sockets and devices.
pub fn tree(root: &Path) -> Result<Vec<Entry>, files::Error> {
    let mut entries = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in files::list(&folder)? {
            let told = fs::symlink_metadata(&path).map_err(|e| files::Error::new("stat", &path, e))?;
            let inside = path.strip_prefix(root).unwrap_or(&path).to_owned();
            let content = if told.is_dir() {
                if !["dev", "proc", "sys"].iter().any(|k| inside.starts_with(k)) {
                    folders.push(path);
                }
                Content::Folder
            } else if told.is_symlink() {
                Content::Link(fs::read_link(&path).map_err(|e| files::Error::new("read", &path, e))?)
            } else if told.is_file() {
                Content::File(path)
            } else {
                continue;
            };
            entries.push(Entry { path: inside, mode: told.mode() & 0o7777, owner: (told.uid(), told.gid()), content });
        }
    }
    Ok(entries)
}

/// Writes an image with one layer and returns the digest of its manifest.
///
/// # Errors
/// A file that can't be read or written.
pub fn write(archive: &Path, reference: &str, config: &Config, mut entries: Vec<Entry>) -> Result<String, files::Error> {
    let told = |e| files::Error::new("write the image", archive, e);
    entries.sort_by(|a, b| a.path.as_os_str().as_bytes().cmp(b.path.as_os_str().as_bytes()));
    let folder = archive.parent().unwrap_or(Path::new("."));
    files::make_folder(folder)?;
    let beside = archive.with_extension("part");
    let layer_path = archive.with_extension("layer");
    let layer_file = File::options().read(true).write(true).create(true).truncate(true).open(&layer_path).map_err(told)?;
    let mut layer = Blob::new(layer_file);
    write_layer(&mut layer, &entries)?;
    let (digest, size, file) = layer.finish().map_err(told)?;
    let manifest = assemble(&beside, reference, config, &digest, size, file).map_err(told)?;
    fs::remove_file(&layer_path).map_err(told)?;
    files::rename(&beside, archive)?;
    Ok(manifest)
}

fn write_layer(out: &mut impl Write, entries: &[Entry]) -> Result<(), files::Error> {
    let mut tar = Builder::new(out);
    for entry in entries {
        append(&mut tar, entry).map_err(|e| files::Error::new("pack", &entry.path, e))?;
    }
    tar.finish().map_err(|e| files::Error::new("pack", Path::new("the layer"), e))
}

fn append(tar: &mut Builder<impl Write>, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.owner.0.into());
    header.set_gid(entry.owner.1.into());
    header.set_mtime(0);
    header.set_size(0);
    match &entry.content {
        Content::Folder => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, entry.path.join(""), io::empty())
        }
        Content::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, &entry.path, target)
        }
        Content::Bytes(bytes) => {
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, &entry.path, bytes.as_slice())
        }
        Content::File(from) => {
            let file = File::open(from)?;
            header.set_size(file.metadata()?.len());
            tar.append_data(&mut header, &entry.path, file)
        }
    }
}

fn assemble(archive: &Path, reference: &str, config: &Config, layer: &str, size: u64, content: File) -> io::Result<String> {
    let config = serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer,
            "size": size,
        }],
    }))?;
    let mut index = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    if let Some(index) = index.as_object_mut() {
        let names = json!({NAME: reference, REFERENCE: reference});
        index.insert("annotations".to_owned(), names);
    }
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [index],
    }))?;
    let mut tar = Builder::new(File::create(archive)?);
    file(&mut tar, "oci-layout", 30, br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice())?;
    file(&mut tar, "index.json", index.len() as u64, index.as_slice())?;
    for blob in [&config, &manifest] {
        file(&mut tar, &place(&digest(blob)), blob.len() as u64, blob.as_slice())?;
    }
    file(&mut tar, &place(layer), size, content)?;
    tar.finish()?;
    Ok(digest(&manifest))
}

fn file(tar: &mut Builder<File>, path: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(size);
    tar.append_data(&mut header, path, content)
}

fn place(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

/// A file that is digested while it is written.
struct Blob {
    file: io::BufWriter<File>,
    digest: Sha256,
    size: u64,
}

impl Blob {
    fn new(file: File) -> Self {
        Self { file: io::BufWriter::with_capacity(1 << 20, file), digest: Sha256::new(), size: 0 }
    }

    fn finish(self) -> io::Result<(String, u64, File)> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok((format!("sha256:{}", hex(&self.digest.finalize())), self.size, file))
    }
}

impl Write for Blob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::archive::Named;

    fn entries() -> Vec<Entry> {
        let content = Content::Bytes(b"hello".to_vec());
        vec![
            Entry::new("/b/file", 0o755, content).owned_by(999, 999),
            Entry::new("/b", 0o755, Content::Folder),
            Entry::new("/a", 0o777, Content::Link("b/file".into())),
        ]
    }

    #[test]
    fn the_same_entries_give_the_same_bytes_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::default();
        let (one, two) = (folder.path().join("one.tar"), folder.path().join("two.tar"));
        let first = write(&one, "localhost/x:1", &config, entries()).unwrap();
        let reversed = entries().into_iter().rev().collect();
        let second = write(&two, "localhost/x:1", &config, reversed).unwrap();
        assert_eq!(first, second);
        assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
    }

    #[test]
    fn an_archive_tells_its_name_and_digest() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("image.tar");
        let digest = write(&archive, "localhost/x:1", &Config::default(), entries()).unwrap();
        let named = Named::read(&archive).unwrap();
        assert_eq!((named.reference(), named.digest), ("localhost/x:1".to_owned(), digest));
        let left: Vec<_> = files::list(folder.path()).unwrap();
        assert_eq!(left, [archive]);
    }
}
