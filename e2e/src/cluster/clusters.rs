//! All clusters of a cache: listed, swept, removed.

use std::path::PathBuf;

use super::cache::Cache;
use super::lifecycle::{Cluster, Error};
use super::state::{self, Place, State};
use super::{cgroups, files};

/// Ends what killed runs left of this cache's clusters: those that never became whole, and those
/// whose first process is gone. What another process is working on is left to it.
pub fn sweep(cache: &Cache) -> Result<(), Error> {
    let prefix = state::group_prefix(cache);
    for group in cgroups::names(&prefix)? {
        let Some(name) = group.strip_prefix(&prefix) else {
            continue;
        };
        let Some(_lock) = cache.try_lock(&group)? else {
            continue;
        };
        let cluster = Cluster::new(cache, name, PathBuf::new())?;
        let state = cluster.place.state()?;
        if !(state.ready && state.process.is_some_and(|p| p.is_alive())) {
            eprintln!("sweep what a killed run left of the cluster {name}");
            cluster.end()?;
        }
    }
    Ok(())
}

/// The clusters of this cache with their state, by name.
pub fn list(cache: &Cache) -> Result<Vec<(Place, State)>, Error> {
    let mut clusters = Vec::new();
    for folder in files::list(&cache.clusters())? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let place = Place::new(cache, &name)?;
        let state = place.state()?;
        clusters.push((place, state));
    }
    Ok(clusters)
}

/// Removes the whole cache folder, unless a cluster runs.
pub fn clean(cache: &Cache) -> Result<(), Error> {
    sweep(cache)?;
    for (place, state) in list(cache)? {
        if state.process.is_some_and(|p| p.is_alive()) {
            return Err(Error::Up(place.name));
        }
    }
    Ok(files::remove_tree(cache.root())?)
}
