//! Logins and passwords.

use serde_json::json;

use crate::postgresql::postgresql;
use crate::standin::{MIDDLE, Setup, Standin};

const ADMIN: &str = "admin:district";

fn change(standin: &Standin, login: &str, old: &str, new: &str) -> crate::standin::Answer {
    standin.send_as(
        login,
        "PUT",
        "/api/me/changePassword",
        &json!({ "oldPassword": old, "newPassword": new }),
    )
}

#[test]
fn only_those_who_log_in_see_more_than_the_door() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    for path in ["/api/system/ping", "/api/health", "/api/me", "/api/metrics"] {
        let answer = standin
            .send("GET", path, &[("Accept", "application/json")], "")
            .unwrap();
        assert_eq!(
            (answer.status, &*answer.location),
            (302, "/dhis-web-login/"),
            "{path}"
        );
        let script = standin
            .send("GET", path, &[("X-Requested-With", "XMLHttpRequest")], "")
            .unwrap();
        assert_eq!(script.status, 401);
    }
    assert_eq!(standin.get("/").status, 302);
    assert_eq!(standin.status_as(ADMIN, "/api/health"), 404);
    assert_eq!(standin.status_as(ADMIN, "/api/cluster"), 404);
    assert_eq!(standin.status_as("admin:wrong", "/api/me"), 401);
    assert_eq!(standin.get_as(ADMIN, "/api/me").text("/id"), "M5zQapPyTZI");
    assert!(
        database
            .text("select password from userinfo where uid = 'M5zQapPyTZI'")
            .starts_with("$2a$10$")
    );
    assert_eq!(database.count("userinfo where lastlogin is not null"), 1);
}

#[test]
fn a_changed_password_holds_at_once() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let form = json!({ "username": "admin", "password": "district" });
    let login = standin
        .send(
            "POST",
            "/api/auth/login",
            &[("Content-Type", "application/json")],
            form.to_string(),
        )
        .unwrap();
    assert_eq!(
        (login.status, login.text("/loginStatus")),
        (200, "SUCCESS".to_owned())
    );
    let with_cookie = || {
        standin
            .send("GET", "/api/me", &[("Cookie", &login.cookie)], "")
            .unwrap()
            .status
    };
    assert_eq!(with_cookie(), 200);

    let post = standin.send_as(ADMIN, "POST", "/api/me/changePassword", &json!({}));
    assert_eq!(post.status, 405);
    for (old, new, says) in [
        ("wrong", "Gr3en-hill", "incorrect"),
        ("district", "Gr3-n", "at least 8, and at most 72 characters"),
        ("district", "Gr3en-Admin", "must not have any generic word"),
    ] {
        let refused = change(&standin, ADMIN, old, new);
        assert_eq!(
            (refused.status, refused.text("/errorCode")),
            (409, "E1004".to_owned())
        );
        assert!(refused.text("/message").contains(says), "{}", refused.body);
    }
    let changed = change(&standin, ADMIN, "district", "Gr3en-hill");
    assert_eq!((changed.status, &*changed.body), (202, ""));
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 401);
    assert_eq!(with_cookie(), 302);
    assert_eq!(standin.status_as("admin:Gr3en-hill", "/api/me"), 200);
    assert_eq!(
        change(&standin, "admin:Gr3en-hill", "Gr3en-hill", "Gr3en-vale").status,
        202
    );
    let again = change(&standin, "admin:Gr3en-vale", "Gr3en-vale", "Gr3en-hill");
    assert!(
        again
            .text("/message")
            .contains("must not be one of the previous 24 passwords")
    );
}
