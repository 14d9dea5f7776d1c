//! The file that people bring: where it is, and what it is.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use flate2::read::MultiGzDecoder;

use super::Error;
use crate::agent::paths::Paths;
use crate::layout;

/// So many bytes of a file tell what it is.
const HEAD: usize = 512;
/// So many names of a directory are told.
const NAMED: usize = 8;

/// A dump of `pg_dump`.
#[derive(Debug)]
pub struct Dump {
    /// As people name it.
    pub name: String,
    /// Where it is.
    pub place: PathBuf,
    /// What it is.
    pub form: Form,
    /// Its size, and when it was written last: by them another one is told from the same.
    pub version: Version,
}

/// By which a dump is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Size in bytes.
    pub bytes: u64,
    /// Milliseconds since 1970 when it was written last.
    pub modified: u64,
}

/// The formats of `pg_dump`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Custom or directory: for `pg_restore`.
    Archive,
    /// Tar: for `pg_restore`, which reads it from one end to the other.
    Tar,
    /// SQL, for `psql`.
    Plain,
    /// SQL, compressed.
    PlainGzip,
}

impl Dump {
    /// Finds it on the volume of the source.
    pub fn open(paths: &Paths, name: &str) -> Result<Self, Error> {
        let place = within(paths, name)?;
        let metadata = fs::metadata(&place).map_err(|error| Error::unreadable(name, error))?;
        let form = if metadata.is_dir() { directory(&place, name)? } else { file(&place, name)? };
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let version = Version { bytes: metadata.len(), modified: u64::try_from(modified.as_millis()).unwrap_or_default() };
        Ok(Self { name: name.to_owned(), place, form, version })
    }

    /// Its SQL, where it is SQL.
    pub fn text(&self) -> Result<Box<dyn Read>, Error> {
        let file = File::open(&self.place).map_err(|error| Error::unreadable(&self.name, error))?;
        Ok(if self.form == Form::PlainGzip { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(file) })
    }
}

/// A place on the volume of the source: no link leads out of it, to where the Secrets are.
pub fn within(paths: &Paths, name: &str) -> Result<PathBuf, Error> {
    let root = paths.of(layout::SOURCE).canonicalize().map_err(|error| Error::unreadable("/", error))?;
    let place = root.join(name).canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { name: name.to_owned(), holds: holds(&root.join(name)) },
        _ => Error::unreadable(name, error),
    })?;
    if place.starts_with(&root) { Ok(place) } else { Err(Error::Outside(name.to_owned())) }
}

/// What the nearest directory that there is holds.
fn holds(missing: &Path) -> String {
    let there = missing.ancestors().skip(1).find_map(|directory| fs::read_dir(directory).ok());
    let mut names: Vec<String> =
        there.into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match (names.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

fn directory(place: &Path, name: &str) -> Result<Form, Error> {
    if ["toc.dat", "toc.dat.gz"].iter().any(|toc| place.join(toc).is_file()) {
        return Ok(Form::Archive);
    }
    Err(Error::form(name, "it is a directory, and not one of pg_dump --format=directory, which holds toc.dat"))
}

fn file(place: &Path, name: &str) -> Result<Form, Error> {
    let read = |reader: &mut dyn Read| {
        let mut head = Vec::new();
        reader.take(HEAD as u64).read_to_end(&mut head).map(|_| head).map_err(|error| Error::unreadable(name, error))
    };
    let open = || File::open(place).map_err(|error| Error::unreadable(name, error));
    match what(&read(&mut open()?)?) {
        What::Gzip => match what(&read(&mut MultiGzDecoder::new(open()?))?) {
            What::Text => Ok(Form::PlainGzip),
            What::Archive | What::Tar => Err(Error::form(name, "it is an archive of pg_dump inside gzip: unpack it with gunzip")),
            _ => Err(Error::form(name, "what is inside gzip is no SQL")),
        },
        What::Archive => Ok(Form::Archive),
        What::Tar => Ok(Form::Tar),
        What::Text => Ok(Form::Plain),
        What::Other(told) => Err(Error::form(name, told)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Archive,
    Tar,
    Text,
    Gzip,
    Other(&'static str),
}

/// By the first bytes of a file.
fn what(head: &[u8]) -> What {
    const OTHERS: [(&[u8], &str); 5] = [
        (b"PK", "it is a zip archive: unpack it"),
        (b"BZh", "it is compressed with bzip2: unpack it, or compress it with gzip"),
        (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: unpack it, or compress it with gzip"),
        (b"\xfd7zXZ", "it is compressed with xz: unpack it, or compress it with gzip"),
        (b"\xff\xfe", "it is UTF-16, as PowerShell's > writes it: make the dump with pg_dump --file"),
    ];
    let tar = head.get(257..262) == Some(b"ustar");
    match head {
        [] => What::Other("it is empty"),
        _ if head.starts_with(b"PGDMP") => What::Archive,
        _ if tar && head.starts_with(b"toc.dat") => What::Tar,
        _ if tar => What::Other("it is a tar archive, and not one of pg_dump --format=tar: unpack it"),
        _ if head.starts_with(b"\x1f\x8b") => What::Gzip,
        _ => match OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
            Some((_, told)) => What::Other(told),
            None if head.contains(&0) => What::Other("it is no dump of PostgreSQL"),
            None => What::Text,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        let tar = |first: &str| [first.as_bytes(), &vec![0; 257 - first.len()], b"ustar"].concat();
        assert_eq!(what(b"PGDMP\x01\x0e"), What::Archive);
        assert_eq!(what(&tar("toc.dat")), What::Tar);
        assert_eq!(what(b"--\n-- PostgreSQL database dump\n--\n"), What::Text);
        assert_eq!(what(b"\x1f\x8b\x08"), What::Gzip);
        for other in [&b""[..], b"PK\x03\x04", b"BZh9", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"\xff\xfe-\0", b"\0\x01", &tar("dump.sql")] {
            assert!(matches!(what(other), What::Other(_)), "{other:?}");
        }
    }
}
