//! Volumes with a real size: an XFS image for each, loop-mounted. A full one says so, a small one grows while in use.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{files, run};

/// XFS does not get smaller than this.
const LEAST: u64 = 300 << 20;

/// Why a volume could not be made, grown or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A program.
    #[error(transparent)]
    Run(#[from] run::Error),
}

/// The folder of a node's volumes.
#[derive(Clone, Debug)]
pub struct Volumes {
    folder: PathBuf,
}

impl Volumes {
    /// Those in this folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The file that holds a volume.
    pub fn image(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.img"))
    }

    /// Where a volume is mounted.
    pub fn target(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a volume of so many bytes and mounts it; one that is mounted is left alone.
    pub fn make(&self, name: &str, bytes: u64) -> Result<(), Error> {
        let (image, target) = (self.image(name), self.target(name));
        files::make_folder(&target)?;
        if is_mounted(&target) {
            return Ok(());
        }
        let file = File::create(&image).map_err(|e| files::Error::new("make", &image, e))?;
        resize(&image, &file, bytes)?;
        run::output(Command::new("mkfs.xfs").args(["-q", "-f"]).arg(&image))?;
        run::output(Command::new("mount").args(["-o", "loop"]).args([image, target]))?;
        Ok(())
    }

    /// Makes a volume larger while it is in use.
    pub fn grow(&self, name: &str, bytes: u64) -> Result<(), Error> {
        let (image, target) = (self.image(name), self.target(name));
        let file = File::options().write(true).open(&image).map_err(|e| files::Error::new("open", &image, e))?;
        resize(&image, &file, bytes)?;
        let device = run::output(Command::new("findmnt").args(["-n", "-o", "SOURCE", "--mountpoint"]).arg(&target))?;
        run::output(Command::new("losetup").args(["--set-capacity", device.trim()]))?;
        run::output(Command::new("xfs_growfs").arg(&target))?;
        Ok(())
    }

    /// Removes a volume and what is in it.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let (image, target) = (self.image(name), self.target(name));
        if is_mounted(&target) {
            run::output(Command::new("umount").arg(&target))?;
        }
        files::remove_tree(&target)?;
        if image.exists() {
            fs::remove_file(&image).map_err(|e| files::Error::new("remove", &image, e))?;
        }
        Ok(())
    }
}

/// The file is sparse: it takes up what is written. It never gets shorter.
fn resize(image: &Path, file: &File, bytes: u64) -> Result<(), files::Error> {
    let now = file.metadata().map_or(0, |m| m.len());
    file.set_len(bytes.max(LEAST).max(now)).map_err(|e| files::Error::new("resize", image, e))
}

fn is_mounted(target: &Path) -> bool {
    let mut ask = Command::new("mountpoint");
    run::output(ask.arg("-q").arg(target)).is_ok()
}
