//! The documentation of a restore by hand, and what comes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::Door;
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::typed::{commands, number_after, restic};
use dhis2_e2e::site::{Outcome, Story, checkout};

use super::disaster;
use serde_json::{Value, json};

/// The documentation, as it is printed, run in an empty folder: up to where the data is in one's hands, then, after a
/// disaster, back into an instance.
pub async fn restore(story: &Story, instance: &Instance, door: &Door, data: &Data) -> Outcome {
    let folder = tempfile::tempdir()?;
    let text = std::fs::read_to_string(checkout("docs/backup-by-hand.md"))?;
    let [out, back, farewell] = parts(&text);
    let begun = Instant::now();
    let said = shell(story, folder.path(), &out)?;
    story.tell(&format!("restored by hand in {:.1} s", begun.elapsed().as_secs_f32()));
    // Two comparisons and the heading of none.
    assert_eq!(said.matches("(0 rows)").count(), 2, "what is restored is not what was backed up: {said}");
    let tables = number_after(&said, "tables compared");
    assert!(tables.is_some_and(|tables| tables > 10), "hardly any table was compared: {said}");
    let (in_set, restored) = (number_after(&said, "files in the set:"), number_after(&said, "files restored:"));
    assert!(in_set == restored && in_set.is_some_and(|files| files > 0), "files in the set and restored: {in_set:?}, {restored:?}: {said}");
    manifest_tells(story, instance, folder.path()).await?;
    data_is_there(story, folder.path(), data)?;
    half_set_has_no_manifest(story, folder.path())?;
    let manifest = disaster::strike(story, instance).await?;
    disaster::begin_anew(instance, &manifest, door, data).await?;
    let begun = Instant::now();
    let said = shell(story, folder.path(), &back)?;
    story.tell(&format!("back in the instance, serving, in {:.1} s", begun.elapsed().as_secs_f32()));
    assert!(said.contains("the key is that of the set"), "{said}");
    disaster::is_overcome(story, instance, door, data).await?;
    shell(story, folder.path(), &farewell)?;
    Ok(())
}

/// The commands that the documentation prints: out of the repository, back into an instance, farewell. Each part knows what
/// a shell that went on would know.
fn parts(text: &str) -> [String; 3] {
    let begins = |title: &str| text.find(title).unwrap_or_else(|| panic!("docs/backup-by-hand.md lacks {title:?}"));
    let (back, farewell) = (begins("\n## 8. Back into an instance"), begins("\n## 9. Leave no trace"));
    let [out, back, farewell] = [&text[..back], &text[back..farewell], &text[farewell..]].map(commands);
    let known = |line: &&str| line.starts_with("by_hand()") || line.starts_with("IMAGE=");
    let known: Vec<&str> = out.lines().filter(known).collect();
    // The story says itself which instance.
    let out: Vec<&str> = out.lines().filter(|line| !line.starts_with("NAMESPACE=")).collect();
    [out.join("\n"), format!("{}\n{back}", known.join("\n")), farewell]
}

/// Runs commands of the documentation.
fn shell(story: &Story, folder: &Path, script: &str) -> Outcome<String> {
    story.types(folder, &[restic()?], script)
}

/// Rows, files, versions, digest of the key.
async fn manifest_tells(story: &Story, instance: &Instance, folder: &Path) -> Outcome {
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("manifest.json"))?)?;
    let at = |pointer: &str| manifest.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/set"), "next");
    assert_eq!(at("/name"), json!(format!("{}/play", story.namespace)));
    assert!(at("/dhis2/version").as_str().is_some_and(|version| story.site.version().starts_with(version)), "{}", at("/dhis2"));
    assert!(at("/postgresql/version").as_str().is_some_and(|version| version.starts_with("17")), "{}", at("/postgresql"));
    assert!(at("/contents/rows/public.organisationunit").as_u64().is_some_and(|rows| rows > 0), "{}", at("/contents/rows"));
    assert!(at("/files/count").as_u64().is_some_and(|files| files > 0), "{}", at("/files"));
    assert_eq!((at("/files/referencesWithoutFile"), at("/files/complete")), (json!(0), json!(true)));
    assert_eq!(at("/encryptionKey/inSecrets"), true);
    let key = instance
        .secret("encryption")
        .await?
        .data
        .and_then(|mut data| data.remove("password"))
        .ok_or("Secret play-encryption lacks password")?;
    let salt = at("/encryptionKey/salt").as_str().unwrap_or_default().to_owned();
    assert_eq!(at("/encryptionKey/digest"), data::digest(&salt, &key.0), "the digest of the key");
    assert_eq!(at("/secrets/encryption~1password"), String::from_utf8(key.0)?, "the key itself");
    assert_eq!(at("/resource/spec/web/host"), json!(instance.host));
    Ok(())
}

/// What the story had put into DHIS2.
fn data_is_there(story: &Story, folder: &Path, data: &Data) -> Outcome {
    let query = format!(
        "kubectl -n $NAMESPACE exec by-hand -- psql -Atd dhis2 -c \"SELECT name FROM organisationunit WHERE uid = '{}'\"",
        data.unit
    );
    assert_eq!(shell(story, folder, &query)?.trim(), data::UNIT, "the organisation unit is not in the restored database");
    let mut archive = tar::Archive::new(std::fs::File::open(folder.join("files.tar"))?);
    let mut contents = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes)?;
        contents.insert(entry.path()?.into_owned(), bytes);
    }
    assert!(contents.values().any(|bytes| *bytes == data.file), "the uploaded file is not among {:?}", contents.keys());
    Ok(())
}

/// The set that was broken off left parts behind, so it was in the middle, and no manifest.
fn half_set_has_no_manifest(story: &Story, folder: &Path) -> Outcome {
    let list = "kubectl -n $NAMESPACE exec by-hand -- /scratch/restic --no-lock snapshots --json --tag set=killed";
    let snapshots: Vec<Value> = serde_json::from_str(&shell(story, folder, list)?)?;
    assert!(!snapshots.is_empty(), "the backup was killed before it wrote anything");
    let tagged = |snapshot: &Value, tag: &str| snapshot["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)));
    assert!(!snapshots.iter().any(|snapshot| tagged(snapshot, "part=manifest")), "{snapshots:?}");
    Ok(())
}
