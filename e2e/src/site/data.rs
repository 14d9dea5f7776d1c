//! Something of its own in a DHIS2: an organisation unit and a file, put there as a user does.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::door::{Account, Door, Scheme};
use super::{Outcome, Story, wait};
use crate::cluster::cache::hex;

/// Name of the organisation unit.
pub const UNIT: &str = "Clínica São João 診療所";

/// How long the ingress controller may take to see that DHIS2 is there again.
const OPEN: Duration = Duration::from_secs(30);

/// How long DHIS2 may take to store an upload that it has accepted.
const STORED: Duration = Duration::from_mins(1);

/// What was put there.
#[derive(Clone, Debug)]
pub struct Data {
    /// The organisation unit's uid.
    pub unit: String,
    /// The file's uid.
    pub upload: String,
    /// The file's bytes.
    pub file: Vec<u8>,
}

/// Puts it there.
///
/// # Errors
/// When DHIS2 does not take it.
pub async fn put(door: &Door, admin: &Account) -> Outcome<Data> {
    door.opens(Scheme::Http, OPEN).await?;
    let (door, admin) = (door.clone(), admin.clone());
    let data = tokio::task::spawn_blocking({
        let (door, admin) = (door.clone(), admin.clone());
        move || create(&door, &admin).map_err(|error| error.to_string())
    })
    .await??;
    wait::ask("DHIS2 to store the upload", STORED, async || check(&door, &admin, &data)).await?;
    Ok(data)
}

fn create(door: &Door, admin: &Account) -> Outcome<Data> {
    let unit = json!({ "name": UNIT, "shortName": "São João", "openingDate": "2020-01-01" });
    let answer = door.send("POST", Scheme::Http, "/api/organisationUnits", Some(admin), Some(&unit))?;
    let unit = uid(&answer.body, "/response/uid").ok_or_else(|| format!("create an organisation unit: {answer:?}"))?;
    // Not all alike, so that a part in the wrong place is noticed.
    let file: Vec<u8> = (0..300_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    // Files of data values are not given back by the path that they were sent to (dhis2-core, `FileResourceController`, read).
    let answer = door.upload(Scheme::Http, "/api/fileResources?domain=DOCUMENT", admin, "scan.pdf", "application/pdf", &file)?;
    let upload = uid(&answer.body, "/response/fileResource/id").ok_or_else(|| format!("upload a file: {answer:?}"))?;
    Ok(Data { unit, upload, file })
}

fn uid(body: &str, pointer: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    body.pointer(pointer)?.as_str().map(str::to_owned)
}

/// The door opens, and DHIS2 gives it back.
///
/// # Errors
/// What it says instead.
pub async fn is_there(door: &Door, admin: &Account, data: &Data) -> Outcome {
    door.opens(Scheme::Http, OPEN).await?;
    let (door, admin, data) = (door.clone(), admin.clone(), data.clone());
    Ok(tokio::task::spawn_blocking(move || check(&door, &admin, &data)).await??)
}

/// Whether DHIS2 still gives it back.
///
/// # Errors
/// What it says instead.
pub fn check(door: &Door, admin: &Account, data: &Data) -> Result<(), String> {
    let ask = |path: &str| door.get(Scheme::Http, path, Some(admin)).map_err(|error| error.to_string());
    let units = ask("/api/organisationUnits?fields=id,name&paging=false")?;
    if !units.body.contains(&data.unit) {
        return Err(format!("the organisation unit is not there: {} {}", units.status, units.body));
    }
    let file = door.bytes(Scheme::Http, &format!("/api/fileResources/{}/data", data.upload), admin).map_err(|error| error.to_string())?;
    if file == data.file { Ok(()) } else { Err(format!("the file has {} bytes and is not the one that was uploaded", file.len())) }
}

/// Salted digest of a key, as the manifest of a set has it.
pub fn digest(salt: &str, key: &[u8]) -> String {
    hex(&Sha256::new().chain_update(salt.as_bytes()).chain_update(key).finalize())
}

/// Enters an organisation unit without DHIS2, so that one can tell what of later is there.
const LATER: &str = "insert into organisationunit (organisationunitid, uid, name, shortname, openingdate, created, lastupdated)
    select nextval('hibernate_sequence'), 'LaterUnit01', 'Later', 'Later', '2020-01-01', now(), now()";

/// Enters it.
///
/// # Errors
/// When PostgreSQL refuses, or it is there.
pub fn enter_later(story: &Story, instance: &str) -> Outcome {
    story.sql(instance, LATER).map(drop)
}

/// Is it there?
///
/// # Errors
/// When PostgreSQL refuses.
pub fn has_later(story: &Story, instance: &str) -> Outcome<bool> {
    Ok(story.sql(instance, "select count(*) from organisationunit where uid = 'LaterUnit01'")? == "1")
}
