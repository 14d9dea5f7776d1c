//! Folders of rigs. One whose owner was killed is removed by the next rig that starts.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::cluster::files;

/// A folder that lasts as long as this value, or until the next start after this process was killed.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
    _lock: File,
}

const LOCK: &str = "lock";

impl Home {
    /// Makes one in `above`, and removes those there that nobody holds.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn make(above: &Path) -> Result<Self, files::Error> {
        files::make_folder(above)?;
        sweep(above)?;
        let folder =
            tempfile::Builder::new().prefix("rig-").tempdir_in(above).map_err(|e| files::Error::new("make a folder in", above, e))?;
        let folder = folder.keep();
        let lock = hold(&folder)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What stays is swept by the next start.
        let _ = files::remove_tree(&self.folder);
    }
}

fn hold(folder: &Path) -> Result<File, files::Error> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(|e| files::Error::new("open", &path, e))?;
    file.lock().map_err(|e| files::Error::new("lock", &path, e))?;
    Ok(file)
}

/// The processes of a folder that nobody holds have ended with its owner. One without a lock file is being made this moment.
fn sweep(above: &Path) -> Result<(), files::Error> {
    for folder in files::list(above)? {
        let dead = File::open(folder.join(LOCK)).is_ok_and(|file| file.try_lock().is_ok());
        if dead {
            files::remove_tree(&folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_owner_left_goes_and_what_lives_stays() {
        let above = tempfile::tempdir().unwrap();
        let living = Home::make(above.path()).unwrap();
        let dead = above.path().join("rig-dead");
        files::make_folder(&dead).unwrap();
        files::write(&dead.join(LOCK), "").unwrap();
        let next = Home::make(above.path()).unwrap();
        assert!(!dead.exists());
        assert!(living.path().exists() && next.path().exists());
    }
}
