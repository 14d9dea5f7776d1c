//! All that an instance holds, so that two of its times can be compared: each table by a digest of its rows, each file by one of its bytes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;

use super::{Outcome, Story};

/// Tables that DHIS2 writes by itself: when a job runs, and what analytics leave.
const OF_JOBS: [&str; 2] = ["jobconfiguration", "systemsetting"];

/// By table. When somebody logged in last is no part of it. What begins like a table of analytics is generated, not kept.
const DIGESTS: &str = "select table_name, (xpath('//digest/text()', query_to_xml(format(
    'select md5(coalesce(string_agg(line, chr(10) order by line), '''')) as digest
     from (select (to_jsonb(t) - ''lastlogin'')::text as line from public.%I t) lines', table_name), false, true, '')))[1]
    from information_schema.tables
    where table_schema = 'public' and table_type = 'BASE TABLE' and table_name !~ '^(analytics|aggregated|completeness|_)' order by 1";

/// What a file system has, and what is written to see whether it can be.
const NOT_FILES: &str = "\\( -name lost+found -o -name '.dhis2-operator*' \\)";

/// What there is, by name.
#[derive(Debug)]
pub struct Whole {
    tables: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

/// All that this instance holds now.
///
/// # Errors
/// When its database or its files can't be read.
pub async fn of(story: &Story, instance: &str) -> Outcome<Whole> {
    let tables = lines(&story.sql(instance, DIGESTS)?, '|').filter(|(table, _)| !OF_JOBS.contains(&table.as_str())).collect();
    let files = files(story, instance).await?;
    Ok(Whole { tables, files })
}

fn lines(text: &str, between: char) -> impl Iterator<Item = (String, String)> {
    text.lines().filter_map(move |line| line.split_once(between)).map(|(name, digest)| (name.to_owned(), digest.trim().to_owned()))
}

async fn files(story: &Story, instance: &str) -> Outcome<BTreeMap<String, String>> {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let pod = pods.get(&format!("{instance}-0")).await?;
    let volumes = pod.spec.and_then(|spec| spec.volumes).unwrap_or_default();
    let claims = volumes.into_iter().filter_map(|volume| volume.persistent_volume_claim);
    let claim = claims.map(|claim| claim.claim_name).next().ok_or("DHIS2 has no volume")?;
    let name = format!("{instance}-reads");
    story.shell(&story.namespace, &name, &["sleep", "infinity"], &[&claim]).await?;
    let told = story.inside(&name, &format!("cd /{claim} && find . {NOT_FILES} -prune -o -type f -exec sha256sum {{}} +"))?;
    pods.delete(&name, &DeleteParams::default()).await?;
    Ok(lines(&told, ' ').map(|(digest, file)| (file, digest)).collect())
}

impl Whole {
    /// All of it is in this instance as it was, and no more. DHIS2 itself may write more when it starts than is known here: then that is told.
    ///
    /// # Errors
    /// With the names of what differs.
    pub async fn is_found(&self, story: &Story, instance: &str) -> Outcome {
        let other = of(story, instance).await?;
        let (tables, files) = (differing(&self.tables, &other.tables), differing(&self.files, &other.files));
        if self.tables.len() < 20 || self.files.is_empty() {
            return Err(format!("that is not all: {self:?}").into());
        }
        if !files.is_empty() || (!tables.is_empty() && story.site.is_stand_in()) {
            return Err(format!("{instance} is not as it was: tables {tables:?}, files {files:?}").into());
        }
        let (same, all) = (self.tables.len().saturating_sub(tables.len()), self.tables.len());
        story.tell(&format!(
            "{instance}: {same} of {all} tables with equal rows, {} files with equal bytes; differing {tables:?}",
            self.files.len()
        ));
        Ok(())
    }
}

fn differing<'a>(one: &'a BTreeMap<String, String>, other: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
    names.filter(|name| one.get(*name) != other.get(*name)).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_other_or_more_is_named() {
        let map = |text: &str| lines(text, '|').collect::<BTreeMap<_, _>>();
        assert_eq!(differing(&map("a|1\nb|2\nc|3"), &map("a|1\nb|4\nd|5")), ["b", "c", "d"]);
        assert!(differing(&map("a|1"), &map("a|1")).is_empty());
    }
}
