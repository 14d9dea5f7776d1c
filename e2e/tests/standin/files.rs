//! Uploads and the file store.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::postgresql::{eventually, postgresql};
use crate::standin::{Answer, MIDDLE, Setup, Standin, basic};

const ADMIN: &str = "admin:district";

fn upload(standin: &Standin, content_type: &str, bytes: &[u8]) -> Answer {
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: {content_type}\r\n\r\n");
    let body = [head.as_bytes(), bytes, b"\r\n--b--\r\n"].concat();
    let headers = [("Authorization", &*basic(ADMIN)), ("Content-Type", "multipart/form-data; boundary=b")];
    standin.send("POST", "/api/fileResources", &headers, body).unwrap()
}

fn status(standin: &Standin, uid: &str) -> String {
    standin.get_as(ADMIN, &format!("/api/fileResources/{uid}")).text("/storageStatus")
}

#[test]
fn an_upload_is_accepted_first_and_stored_then() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let answer = upload(&standin, "text/plain", b"hello");
    assert_eq!(answer.status, 202, "{}", answer.body);
    let resource = answer.json()["response"]["fileResource"].clone();
    assert_eq!(resource["storageStatus"], "PENDING");
    assert_eq!(resource["contentMd5"], "5d41402abc4b2a76b9719d911017c592");
    let uid = resource["id"].as_str().unwrap();
    eventually("it is stored", || (status(&standin, uid) == "STORED").then_some(()));
    let key = database.text(&format!("select storagekey from fileresource where uid = '{uid}'"));
    assert!(key.starts_with("dataValue/"), "{key}");
    assert_eq!(fs::read(standin.home.join("files").join(&key)).unwrap(), b"hello");
    assert_eq!(standin.get_as(ADMIN, &format!("/api/fileResources/{uid}/data")).body, "hello");

    assert_eq!(upload(&standin, "text/plain", &vec![b'x'; 10_000_001]).status, 409);
    assert_eq!(upload(&standin, "text/html", b"<p>").status, 409);
    fs::remove_file(standin.home.join("files").join(&key)).unwrap();
    assert_eq!(standin.status_as(ADMIN, &format!("/api/fileResources/{uid}/data")), 500);
}

#[test]
fn a_dead_store_loses_uploads_without_a_word() {
    let database = postgresql().database(true);
    let setup = Setup::of(MIDDLE, &database);
    let files = setup.home.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::set_permissions(&files, Permissions::from_mode(0o555)).unwrap();
    let standin = setup.serve();
    let answer = upload(&standin, "text/plain", b"hello");
    assert_eq!(answer.status, 202, "{}", answer.body);
    let uid = answer.text("/response/fileResource/id");
    let lost = format!("Saving content for file resource failed: {uid}");
    eventually("the log tells", || standin.log().contains(&lost).then_some(()));
    assert_eq!(status(&standin, &uid), "PENDING");
    assert_eq!(database.count(&format!("fileresource where uid = '{uid}'")), 1);
}

#[test]
fn icons_are_made_once() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    assert_eq!(database.count("icon join fileresource using (fileresourceid) where isassigned"), 20);
    assert_eq!(fs::read_dir(standin.home.join("files/icon")).unwrap().count(), 20);
    drop(standin);
    let standin = Setup::of(MIDDLE, &database).serve();
    assert!(!standin.home.join("files/icon").exists());
}
