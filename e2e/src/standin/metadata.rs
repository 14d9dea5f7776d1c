//! Metadata, as much as data values refer to: organisation units and data elements.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::dhis2::{self, Dhis2, Shared};
use super::login::Login;
use super::refusal::Refusal;
use super::users::report;

/// `/api/organisationUnits`, `/api/dataElements`.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new()
        .route("/api/organisationUnits", get(list_units).post(create_unit))
        .route("/api/dataElements", get(list_elements).post(create_element))
}

#[derive(Deserialize)]
struct Reference {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewUnit {
    id: Option<String>,
    name: String,
    short_name: String,
    code: Option<String>,
    opening_date: String,
    parent: Option<Reference>,
    geometry: Option<Value>,
}

async fn create_unit(State(dhis2): Shared, Login(_): Login, Json(new): Json<NewUnit>) -> Result<Response, Refusal> {
    let uid = new.id.unwrap_or_else(dhis2::uid);
    let parent = new.parent.map(|parent| parent.id);
    let geometry = new.geometry.map(|geometry| geometry.to_string());
    let insert = "insert into organisationunit (organisationunitid, uid, code, name, shortname, openingdate, parentid, path, hierarchylevel, geometry)
        select nextval('hibernate_sequence'), $1::text, $2, $3, $4, $5::text::date, p.organisationunitid, coalesce(p.path, '') || '/' || $1::text,
            coalesce(p.hierarchylevel, 0) + 1, st_setsrid(st_geomfromgeojson($7::text), 4326)
        from (select 1) one left join organisationunit p on p.uid = $6 where $6::text is null or p.uid is not null";
    let opened = new.opening_date.get(..10).unwrap_or(&new.opening_date).to_owned();
    let client = dhis2.client().await?;
    let inserted = client.execute(insert, &[&uid, &new.code, &new.name, &new.short_name, &opened, &parent, &geometry]).await?;
    if inserted == 0 {
        return Err(Refusal::Conflict(format!("Invalid reference {parent:?} (OrganisationUnit) on object {}", new.name)));
    }
    Ok((StatusCode::CREATED, Json(report("OrganisationUnit", &uid, "Created", 201))).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewElement {
    id: Option<String>,
    name: String,
    short_name: String,
    code: Option<String>,
    value_type: String,
    domain_type: String,
    aggregation_type: String,
}

async fn create_element(State(dhis2): Shared, Login(_): Login, Json(new): Json<NewElement>) -> Result<Response, Refusal> {
    let uid = new.id.unwrap_or_else(dhis2::uid);
    let insert =
        "insert into dataelement (dataelementid, uid, code, name, shortname, valuetype, domaintype, aggregationtype, categorycomboid)
        select nextval('hibernate_sequence'), $1, $2, $3, $4, $5, $6, $7, categorycomboid from categorycombo where name = 'default'";
    let client = dhis2.client().await?;
    client
        .execute(insert, &[&uid, &new.code, &new.name, &new.short_name, &new.value_type, &new.domain_type, &new.aggregation_type])
        .await?;
    Ok((StatusCode::CREATED, Json(report("DataElement", &uid, "Created", 201))).into_response())
}

async fn list_units(State(dhis2): Shared, _: Login) -> Result<Json<Value>, Refusal> {
    list(&dhis2, "organisationUnits", "select uid, name from organisationunit order by name").await
}

async fn list_elements(State(dhis2): Shared, _: Login) -> Result<Json<Value>, Refusal> {
    list(&dhis2, "dataElements", "select uid, name from dataelement order by name").await
}

async fn list(dhis2: &Arc<Dhis2>, kind: &str, select: &str) -> Result<Json<Value>, Refusal> {
    let rows = dhis2.client().await?.query(select, &[]).await?;
    let objects: Vec<Value> =
        rows.iter().map(|row| json!({ "id": row.get::<_, String>(0), "displayName": row.get::<_, String>(1) })).collect();
    Ok(Json(json!({ "pager": { "page": 1, "total": objects.len(), "pageSize": objects.len(), "pageCount": 1 }, kind: objects })))
}
