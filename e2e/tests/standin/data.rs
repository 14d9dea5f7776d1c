//! Rows: written by the API, dumped, restored.

use serde_json::{Value, json};

use crate::postgresql::{Database, postgresql};
use crate::standin::{Answer, MIDDLE, Setup, Standin};

const ADMIN: &str = "admin:district";

/// Makes a unit and a data element and writes this many values; returns the last answer.
pub fn fill(standin: &Standin, values: u32) -> Answer {
    let unit = json!({
        "id": "ouAAAAAAAAA", "name": "Hill", "shortName": "Hill", "openingDate": "2020-01-01",
        "geometry": { "type": "Point", "coordinates": [30.1, -1.9] },
    });
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/organisationUnits", &unit).status, 201);
    let element = json!({
        "id": "deAAAAAAAAA", "name": "Births", "shortName": "Births", "valueType": "INTEGER", "domainType": "AGGREGATE", "aggregationType": "SUM",
    });
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/dataElements", &element).status, 201);
    let value = |n: u32| {
        let period = format!("{}{:02}", 2000 + n / 12, 1 + n % 12);
        json!({ "dataElement": "deAAAAAAAAA", "period": period, "orgUnit": "ouAAAAAAAAA", "value": n.to_string() })
    };
    let set: Vec<Value> = (0..values).map(value).collect();
    standin.send_as(ADMIN, "POST", "/api/dataValueSets", &json!({ "dataValues": set }))
}

fn values(standin: &Standin) -> Vec<Value> {
    standin.get_as(ADMIN, "/api/dataValueSets?orgUnit=ouAAAAAAAAA").json()["dataValues"].as_array().unwrap().clone()
}

#[test]
fn acknowledged_values_are_rows() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let answer = fill(&standin, 300);
    assert_eq!((answer.status, &answer.json()["response"]["importCount"]["imported"]), (200, &json!(300)), "{}", answer.body);
    assert_eq!(database.count("datavalue"), 300);
    assert_eq!(database.text("select st_astext(geometry) from organisationunit"), "POINT(30.1 -1.9)");
    let again = json!({ "dataValues": [
        { "dataElement": "deAAAAAAAAA", "period": "200001", "orgUnit": "ouAAAAAAAAA", "value": "new" },
        { "dataElement": "deAAAAAAAAA", "period": "200001", "orgUnit": "ouBBBBBBBBB", "value": "1" },
    ] });
    let answer = standin.send_as(ADMIN, "POST", "/api/dataValueSets", &again);
    assert_eq!(answer.status, 409);
    let counts = &answer.json()["response"]["importCount"];
    assert_eq!((&counts["updated"], &counts["ignored"]), (&json!(1), &json!(1)));
    assert_eq!(values(&standin).len(), 300);
    assert_eq!(values(&standin)[0]["value"], "new");
    let child = json!({ "name": "Vale", "shortName": "Vale", "openingDate": "2020-01-01", "parent": { "id": "ouAAAAAAAAA" } });
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/organisationUnits", &child).status, 201);
    assert_eq!(database.count("organisationunit where hierarchylevel = 2 and path like '/ouAAAAAAAAA/%'"), 1);
    let orphan = json!({ "name": "Vale", "shortName": "Vale", "openingDate": "2020-01-01", "parent": { "id": "ouBBBBBBBBB" } });
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/organisationUnits", &orphan).status, 409);
}

/// Dumps one database and restores it into another as the owner.
fn copy(from: &Database, to: &Database) -> bool {
    let file = postgresql().folder.join("postgresql").join(&from.name);
    let dump = ["-Fc", "--no-comments", "--exclude-table-data=spatial_ref_sys", "-f"];
    let dumped = postgresql().program("pg_dump").args(dump).arg(&file).arg(&from.name).status().unwrap();
    assert!(dumped.success());
    let restore = ["-U", "dhis", "--no-owner", "--no-acl", "-d", &to.name];
    postgresql().program("pg_restore").args(restore).arg(&file).status().unwrap().success()
}

#[test]
fn a_dump_restores_without_a_complaint_and_serves() {
    let (database, other) = (postgresql().database(true), postgresql().database(true));
    let standin = Setup::of(MIDDLE, &database).serve();
    fill(&standin, 50);
    let view = json!({ "name": "All values", "sqlQuery": "select value from datavalue" });
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/sqlViews", &view).status, 201);
    assert!(copy(&database, &other));
    let restored = Setup::of(MIDDLE, &other).serve();
    assert_eq!(values(&restored), values(&standin));
    assert_eq!(other.count("_view_all_values"), 50);
    let tables = "pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace";
    assert_eq!(database.count(tables), other.count(tables));
}

#[test]
fn views_are_dropped_and_created() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let view = json!({ "name": "Users", "sqlQuery": "select username from userinfo" });
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/sqlViews", &view).status, 201);
    let views = || database.count("pg_views where viewname = '_view_users'");
    assert_eq!(views(), 1);
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/maintenance/sqlViewsDrop", &json!({})).status, 204);
    assert_eq!(views(), 0);
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/maintenance?sqlViewsCreate=true", &json!({})).status, 204);
    assert_eq!(views(), 1);
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/maintenance/other", &json!({})).status, 404);
}
