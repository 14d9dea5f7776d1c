//! Logins and passwords.

use serde_json::json;

use crate::postgresql::postgresql;
use crate::standin::{MIDDLE, Setup, Standin};

const ADMIN: &str = "admin:district";

fn change(standin: &Standin, login: &str, old: &str, new: &str) -> crate::standin::Answer {
    standin.send_as(login, "PUT", "/api/me/changePassword", &json!({ "oldPassword": old, "newPassword": new }))
}

#[test]
fn only_those_who_log_in_see_more_than_the_door() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    for path in ["/api/system/ping", "/api/health", "/api/me", "/api/metrics"] {
        let answer = standin.send("GET", path, &[("Accept", "application/json")], "").unwrap();
        assert_eq!((answer.status, &*answer.location), (302, "/dhis-web-login/"), "{path}");
        let script = standin.send("GET", path, &[("X-Requested-With", "XMLHttpRequest")], "").unwrap();
        assert_eq!(script.status, 401);
    }
    assert_eq!(standin.get("/").status, 302);
    assert_eq!(standin.status_as(ADMIN, "/api/health"), 404);
    assert_eq!(standin.status_as(ADMIN, "/api/cluster"), 404);
    assert_eq!(standin.status_as("admin:wrong", "/api/me"), 401);
    assert_eq!(standin.get_as(ADMIN, "/api/me").text("/id"), "M5zQapPyTZI");
    assert!(database.text("select password from userinfo where uid = 'M5zQapPyTZI'").starts_with("$2a$10$"));
    assert_eq!(database.count("userinfo where lastlogin is not null"), 1);
}

#[test]
fn a_changed_password_holds_at_once() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let form = json!({ "username": "admin", "password": "district" });
    let login = standin.send("POST", "/api/auth/login", &[("Content-Type", "application/json")], form.to_string()).unwrap();
    assert_eq!((login.status, login.text("/loginStatus")), (200, "SUCCESS".to_owned()));
    let with_cookie = || standin.send("GET", "/api/me", &[("Cookie", &login.cookie)], "").unwrap().status;
    assert_eq!(with_cookie(), 200);

    let post = standin.send_as(ADMIN, "POST", "/api/me/changePassword", &json!({}));
    assert_eq!(post.status, 405);
    for (old, new, says) in [
        ("wrong", "Gr3en-hill", "incorrect"),
        ("district", "Gr3-n", "at least 8, and at most 72 characters"),
        ("district", "Gr3en-Admin", "must not have any generic word"),
    ] {
        let refused = change(&standin, ADMIN, old, new);
        assert_eq!((refused.status, refused.text("/errorCode")), (409, "E1004".to_owned()));
        assert!(refused.text("/message").contains(says), "{}", refused.body);
    }
    let changed = change(&standin, ADMIN, "district", "Gr3en-hill");
    assert_eq!((changed.status, &*changed.body), (202, ""));
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 401);
    assert_eq!(with_cookie(), 302);
    assert_eq!(standin.status_as("admin:Gr3en-hill", "/api/me"), 200);
    assert_eq!(change(&standin, "admin:Gr3en-hill", "Gr3en-hill", "Gr3en-vale").status, 202);
    let again = change(&standin, "admin:Gr3en-vale", "Gr3en-vale", "Gr3en-hill");
    assert!(again.text("/message").contains("must not be one of the previous 24 passwords"));
}

#[test]
fn a_password_changed_by_sql_is_undone_by_a_login_with_the_old_one() {
    let database = postgresql().database(true);
    let hash = bcrypt::hash("Gr3en-hill", 4).unwrap();
    let by_sql = format!("update userinfo set password = '{hash}' where username = 'admin'");
    let standin = Setup::of(MIDDLE, &database).serve();

    // Nobody has logged in yet: the change holds.
    database.execute(&by_sql);
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 401);
    assert_eq!(standin.status_as("admin:Gr3en-hill", "/api/me"), 200);

    // Two servers know the user; what one changes is undone by a login at the other.
    let other = Setup::of(MIDDLE, &database).serve();
    assert_eq!(other.status_as("admin:Gr3en-hill", "/api/me"), 200);
    assert_eq!(change(&standin, "admin:Gr3en-hill", "Gr3en-hill", "Gr3en-vale").status, 202);
    assert_eq!(other.status_as("admin:Gr3en-hill", "/api/me"), 200);
    assert_eq!(database.text("select password from userinfo where username = 'admin'"), hash);
}

#[test]
fn users_are_made_found_and_given_passwords() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let role = json!({ "name": "Agent", "authorities": ["F_PERFORM_MAINTENANCE"] });
    let role = standin.send_as(ADMIN, "POST", "/api/userRoles", &role).text("/response/uid");
    let user = |password: &str| json!({ "username": "agent", "firstName": "A", "surname": "G", "password": password, "userRoles": [{ "id": role }] });
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/users", &user("short")).status, 409);
    let made = standin.send_as(ADMIN, "POST", "/api/users", &user("Gr3en-hill"));
    assert_eq!(made.status, 201, "{}", made.body);
    let uid = made.text("/response/uid");
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/users", &user("Gr3en-hill")).status, 409);
    let found = standin.get_as(ADMIN, "/api/users?filter=username:eq:agent&fields=id");
    assert_eq!(found.text("/users/0/id"), uid);
    assert_eq!(standin.get_as(ADMIN, &format!("/api/users/{uid}")).text("/userRoles/0/id"), role);

    let agent = "agent:Gr3en-hill";
    assert_eq!(standin.send_as(agent, "POST", "/api/maintenance?cacheClear=true", &json!({})).status, 204);
    assert_eq!(standin.send_as(agent, "POST", "/api/systemSettings/applicationTitle?value=x", &json!({})).status, 403);
    let patch = |path: &str, value: serde_json::Value| {
        let steps = json!([{ "op": "replace", "path": path, "value": value }]);
        standin.send_as(ADMIN, "PATCH", &format!("/api/users/{uid}"), &steps).status
    };
    assert_eq!(patch("/password", json!("Gr3en-vale")), 200);
    assert_eq!(standin.status_as(agent, "/api/me"), 401);
    assert_eq!(standin.status_as("agent:Gr3en-vale", "/api/me"), 200);
    assert_eq!(patch("/disabled", json!(true)), 200);
    assert_eq!(standin.status_as("agent:Gr3en-vale", "/api/me"), 401);
}

#[test]
fn lock_out_is_off_until_it_is_set_and_spares_basic() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let form = |password: &str| {
        let body = json!({ "username": "admin", "password": password }).to_string();
        standin.send("POST", "/api/auth/login", &[("Content-Type", "application/json")], body).unwrap()
    };
    for _ in 0..5 {
        assert_eq!(form("wrong").status, 401);
    }
    assert_eq!(form("district").text("/loginStatus"), "SUCCESS");
    let on = "/api/systemSettings/keyLockMultipleFailedLogins?value=true";
    assert_eq!(standin.send_as(ADMIN, "POST", on, &json!({})).status, 200);
    for _ in 0..4 {
        assert_eq!(form("wrong").status, 401);
    }
    assert_eq!(form("district").text("/loginStatus"), "ACCOUNT_LOCKED");
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);
}

#[test]
fn a_token_is_a_login() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let made = standin.send_as(ADMIN, "POST", "/api/apiToken", &json!({ "type": "PERSONAL_ACCESS_TOKEN_V2" }));
    let key = made.text("/response/key");
    assert!(key.starts_with("d2p_"));
    let with = |key: &str| standin.send("GET", "/api/me", &[("Authorization", &format!("ApiToken {key}"))], "").unwrap().status;
    assert_eq!(with(&key), 200);
    assert_eq!(with("d2p_wrong"), 400);
}
