//! Everything that a cluster needs before it can start, built once for all of them.

use std::path::PathBuf;

use super::cache::{self, Cache};
use super::images::{self, Images};
use super::packages;
use super::programs::{self, Program};
use super::{files, run};

/// Why a cluster has not what it needs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cache folder.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// Something left there by a build that was killed.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A Debian package.
    #[error("install Debian's packages")]
    Packages(#[source] run::Error),
    /// A Go program.
    #[error(transparent)]
    Program(#[from] programs::Error),
    /// An image.
    #[error(transparent)]
    Image(#[from] images::Error),
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// Folders of programs, to search in this order.
    pub programs: Vec<PathBuf>,
    /// Image archives to load.
    pub images: Images,
}

/// Builds what a cluster runs on: packages, programs, images. Quick when all is there.
pub fn cluster(cache: &Cache) -> Result<Built, Error> {
    let _lock = cache.lock("build")?;
    // The lock says that no build is running: what is there was left by one that was killed.
    files::remove_tree(&cache.scratch())?;
    packages::install().map_err(Error::Packages)?;
    let programs = programs::ALL.iter().filter(|p| p.runs_in_a_cluster()).map(|p| programs::build(cache, p)).collect::<Result<_, _>>()?;
    let images = images::build(cache)?;
    files::remove_tree(&cache.scratch())?;
    Ok(Built { programs, images })
}

/// Builds what tests without a cluster need, and returns the folders of the programs.
pub fn tools(cache: &Cache) -> Result<Vec<PathBuf>, Error> {
    let _lock = cache.lock("build")?;
    files::remove_tree(&cache.scratch())?;
    packages::install_for_tests().map_err(Error::Packages)?;
    let tools = programs::ALL.iter().filter(|program| !program.runs_in_a_cluster());
    Ok(tools.map(|program| programs::build(cache, program)).collect::<Result<_, _>>()?)
}

/// Builds one Go program by the name of its module and returns its folder.
pub fn program(cache: &Cache, program: &Program) -> Result<PathBuf, Error> {
    let _lock = cache.lock("build")?;
    Ok(programs::build(cache, program)?)
}
