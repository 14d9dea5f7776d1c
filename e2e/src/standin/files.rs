//! File resources: received into Tomcat's temp folder, answered with 202, and put into the file store afterwards. A store
//! that can't be written loses them without a word to the sender, as DHIS2 does (2.42.4.1, observed).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Multipart, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use md5::{Digest as _, Md5};
use serde_json::json;
use tokio_postgres::Client;

use super::dhis2::{self, Dhis2, Shared};
use super::log::Log;
use super::login::Login;
use super::refusal::Refusal;

/// `max.file_upload_size` by default, in bytes.
const UPLOAD_MAX: u64 = 10_000_000;
/// Content types that DHIS2 takes from nobody (dhis2-core's `FileResourceBlocklist`, a part of it, read).
const REFUSED: [&str; 4] = ["text/html", "text/css", "text/javascript", "application/x-msdownload"];
/// Icons that housekeeping makes once for an empty database. DHIS2 makes 897.
const ICONS: usize = 20;

const INSERT: &str =
    "insert into fileresource (fileresourceid, uid, name, contenttype, contentlength, contentmd5, storagekey, domain, isassigned)
    values (nextval('hibernate_sequence'), $1, $2, $3, $4, $5, $6, $7, $8) returning fileresourceid";

/// `/api/fileResources`.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new()
        .route("/api/fileResources", post(upload).layer(DefaultBodyLimit::max(64 << 20)))
        .route("/api/fileResources/{uid}", get(read))
        .route("/api/fileResources/{uid}/data", get(data))
}

struct Upload {
    name: String,
    content_type: String,
    bytes: Vec<u8>,
    domain: String,
}

async fn receive(mut multipart: Multipart) -> Result<Upload, Refusal> {
    let bad = |error: axum::extract::multipart::MultipartError| Refusal::BadRequest(error.body_text());
    let mut domain = "DATA_VALUE".to_owned();
    let mut file = None;
    while let Some(field) = multipart.next_field().await.map_err(bad)? {
        match field.name() {
            Some("domain") => domain = field.text().await.map_err(bad)?,
            Some("file") => {
                let name = field.file_name().unwrap_or("untitled").to_owned();
                let content_type = field.content_type().unwrap_or("application/octet-stream").to_owned();
                file = Some((name, content_type, field.bytes().await.map_err(bad)?.to_vec()));
            }
            _ => {}
        }
    }
    let (name, content_type, bytes) = file.ok_or_else(|| Refusal::BadRequest("Required part 'file' is not present.".to_owned()))?;
    Ok(Upload { name, content_type, bytes, domain })
}

async fn upload(State(dhis2): Shared, _: Login, multipart: Multipart) -> Result<Response, Refusal> {
    let upload = receive(multipart).await?;
    let length = i64::try_from(upload.bytes.len()).unwrap_or(i64::MAX);
    if upload.bytes.len() as u64 > dhis2.conf.number("max.file_upload_size", UPLOAD_MAX) {
        return Err(Refusal::Conflict(format!("File size can't be bigger than {UPLOAD_MAX} bytes")));
    }
    if REFUSED.contains(&&*upload.content_type) {
        return Err(Refusal::Conflict(format!("File extension or content type is not allowed: {}", upload.content_type)));
    }
    let _held = dhis2.heap.hold(upload.bytes.len() as u64)?;
    let (uid, md5) = (dhis2::uid(), md5(&upload.bytes));
    let key = format!("{}/{}", folder(&upload.domain), dhis2::uuid());
    let received = dhis2.temp.join(&uid);
    tokio::fs::write(&received, &upload.bytes).await?;
    let client = dhis2.client().await?;
    client.query_one(INSERT, &[&uid, &upload.name, &upload.content_type, &length, &md5, &key, &upload.domain, &false]).await?;
    let (store, log) = (dhis2.files().join(&key), dhis2.log.clone());
    let uid_stored = uid.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = put(&received, &store) {
            log.error("FileResourceEventListener", &format!("Saving content for file resource failed: {uid_stored}: {error}"));
        }
    });
    let resource = json!({
        "id": uid, "name": upload.name, "contentType": upload.content_type, "contentLength": length, "contentMd5": md5,
        "storageStatus": "PENDING", "domain": upload.domain,
    });
    let answer = json!({ "httpStatus": "Accepted", "httpStatusCode": 202, "status": "OK", "response": { "responseType": "FileResource", "fileResource": resource } });
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// Moves a received file into the store; the received one is gone afterwards, whatever happened.
fn put(received: &Path, store: &Path) -> io::Result<()> {
    let put = || {
        std::fs::create_dir_all(store.parent().unwrap_or(store))?;
        // Whole or not at all: a copy beside it, then a rename.
        let half = store.with_extension("part");
        std::fs::copy(received, &half)?;
        std::fs::rename(&half, store)
    };
    let result = put();
    std::fs::remove_file(received).and(result)
}

struct Stored {
    name: String,
    content_type: String,
    length: i64,
    md5: String,
    path: PathBuf,
}

async fn find(dhis2: &Arc<Dhis2>, uid: &str) -> Result<Stored, Refusal> {
    let select = "select name, contenttype, contentlength, contentmd5, storagekey from fileresource where uid = $1";
    let row = dhis2.client().await?.query_opt(select, &[&uid]).await?;
    let row = row.ok_or_else(|| Refusal::NotFound(format!("FileResource with id {uid} could not be found.")))?;
    Ok(Stored {
        name: row.get(0),
        content_type: row.get(1),
        length: row.get(2),
        md5: row.get(3),
        path: dhis2.files().join(row.get::<_, String>(4)),
    })
}

async fn read(State(dhis2): Shared, _: Login, UrlPath(uid): UrlPath<String>) -> Result<Response, Refusal> {
    let stored = find(&dhis2, &uid).await?;
    // There is no column for it: what is in the store is stored.
    let status = if stored.path.is_file() { "STORED" } else { "PENDING" };
    let answer = json!({
        "id": uid, "name": stored.name, "contentType": stored.content_type, "contentLength": stored.length,
        "contentMd5": stored.md5, "storageStatus": status,
    });
    Ok(Json(answer).into_response())
}

async fn data(State(dhis2): Shared, _: Login, UrlPath(uid): UrlPath<String>) -> Result<Response, Refusal> {
    let stored = find(&dhis2, &uid).await?;
    let bytes = tokio::fs::read(&stored.path).await?;
    Ok(([(CONTENT_TYPE, stored.content_type)], bytes).into_response())
}

/// The folder of a domain in the store.
fn folder(domain: &str) -> &'static str {
    match domain {
        "DOCUMENT" => "document",
        "ICON" => "icon",
        "USER_AVATAR" => "userAvatar",
        "PUSH_ANALYSIS" => "pushAnalysis",
        _ => "dataValue",
    }
}

fn md5(bytes: &[u8]) -> String {
    dhis2::hex(&Md5::digest(bytes))
}

/// What housekeeping does once for a database without icons: rows with their files. A restore of the rows without the
/// files is not noticed, so they are not made again.
///
/// # Errors
/// When the database fails.
pub async fn make_icons(client: &mut Client, files: &Path, log: &Log) -> Result<(), tokio_postgres::Error> {
    if client.query_opt("select 1 from icon limit 1", &[]).await?.is_some() {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    for number in 0..ICONS {
        let svg = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 48 48\"><circle r=\"{number}\"/></svg>");
        let (name, key) = (format!("icon_{number}"), format!("icon/{}", dhis2::uuid()));
        let length = i64::try_from(svg.len()).unwrap_or(i64::MAX);
        let domain = "ICON";
        let row = transaction
            .query_one(INSERT, &[&dhis2::uid(), &name, &"image/svg+xml", &length, &md5(svg.as_bytes()), &key, &domain, &true])
            .await?;
        transaction
            .execute("insert into icon (iconkey, fileresourceid, custom) values ($1, $2, false)", &[&name, &row.get::<_, i64>(0)])
            .await?;
        let path = files.join(&key);
        if let Err(error) = std::fs::create_dir_all(path.parent().unwrap_or(files)).and_then(|()| std::fs::write(&path, svg)) {
            log.error("DefaultIconService", &format!("Saving content for file resource failed: {key}: {error}"));
        }
    }
    transaction.commit().await
}
