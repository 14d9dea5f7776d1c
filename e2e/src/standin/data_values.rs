//! Data values: rows that are acknowledged once they are committed, and read back.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::Transaction;

use super::dhis2::{Dhis2, Shared};
use super::login::Login;
use super::refusal::Refusal;

/// Identifier of the default category option combination, the same in every DHIS2.
const DEFAULT_COMBO: &str = "HllvX50cXC0";

/// `/api/dataValueSets`.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new().route("/api/dataValueSets", get(read_values).post(write_values))
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct DataValue {
    data_element: String,
    period: String,
    org_unit: String,
    #[serde(default = "default_combo")]
    category_option_combo: String,
    #[serde(default = "default_combo")]
    attribute_option_combo: String,
    value: String,
}

fn default_combo() -> String {
    DEFAULT_COMBO.to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataValueSet {
    data_values: Vec<DataValue>,
}

async fn write_values(State(dhis2): Shared, Login(account): Login, Json(set): Json<DataValueSet>) -> Result<Response, Refusal> {
    let mut client = dhis2.client().await?;
    let transaction = client.transaction().await?;
    let (mut imported, mut updated, mut conflicts) = (0, 0, Vec::new());
    for (index, value) in set.data_values.iter().enumerate() {
        match write_value(&transaction, value, &account.username).await? {
            Some(true) => imported += 1,
            Some(false) => updated += 1,
            None => {
                conflicts.push(json!({ "object": index, "value": "Data element, period, organisation unit or option combo not found" }));
            }
        }
    }
    // What is acknowledged is committed.
    transaction.commit().await?;
    let (status, code) = if conflicts.is_empty() { ("SUCCESS", StatusCode::OK) } else { ("WARNING", StatusCode::CONFLICT) };
    let answer = json!({
        "httpStatus": code.canonical_reason(),
        "httpStatusCode": code.as_u16(),
        "status": if conflicts.is_empty() { "OK" } else { "WARNING" },
        "message": if conflicts.is_empty() { "Import was successful." } else { "One more conflicts encountered, please check import summary." },
        "response": {
            "responseType": "ImportSummary",
            "status": status,
            "importCount": { "imported": imported, "updated": updated, "ignored": conflicts.len(), "deleted": 0 },
            "conflicts": conflicts,
        },
    });
    Ok((code, Json(answer)).into_response())
}

/// Whether the value is new; `None` when it refers to what is not there.
async fn write_value(transaction: &Transaction<'_>, value: &DataValue, by: &str) -> Result<Option<bool>, Refusal> {
    let Some((start, end, kind)) = period(&value.period) else {
        return Ok(None);
    };
    let (start, end) = (start.to_string(), end.to_string());
    let period = "insert into period (periodid, periodtypeid, startdate, enddate)
        select nextval('hibernate_sequence'), periodtypeid, $1::text::date, $2::text::date from periodtype where name = $3
        on conflict do nothing";
    transaction.execute(period, &[&start, &end, &kind]).await?;
    let upsert = "insert into datavalue (dataelementid, periodid, sourceid, categoryoptioncomboid, attributeoptioncomboid, value, storedby)
        select d.dataelementid, p.periodid, o.organisationunitid, c.categoryoptioncomboid, a.categoryoptioncomboid, $8, $9
        from dataelement d, period p join periodtype t using (periodtypeid), organisationunit o, categoryoptioncombo c, categoryoptioncombo a
        where d.uid = $1 and p.startdate = $2::text::date and p.enddate = $3::text::date and t.name = $4 and o.uid = $5 and c.uid = $6 and a.uid = $7
        on conflict (dataelementid, periodid, sourceid, categoryoptioncomboid, attributeoptioncomboid)
        do update set value = excluded.value, storedby = excluded.storedby, lastupdated = now(), deleted = false
        returning xmax = 0";
    let (combo, attribute) = (&value.category_option_combo, &value.attribute_option_combo);
    let row = transaction
        .query_opt(upsert, &[&value.data_element, &start, &end, &kind, &value.org_unit, combo, attribute, &value.value, &by])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// First and last day and type of a period: `2026`, `202611` or `20261125`.
fn period(iso: &str) -> Option<(Date, Date, &'static str)> {
    let number = |range: std::ops::Range<usize>| iso.get(range)?.parse::<i16>().ok();
    let part = |range| i8::try_from(number(range)?).ok();
    let year = number(0..4)?;
    match iso.len() {
        4 => Some((Date::new(year, 1, 1).ok()?, Date::new(year, 12, 31).ok()?, "Yearly")),
        6 => {
            let first = Date::new(year, part(4..6)?, 1).ok()?;
            Some((first, first.last_of_month(), "Monthly"))
        }
        8 => {
            let day = Date::new(year, part(4..6)?, part(6..8)?).ok()?;
            Some((day, day, "Daily"))
        }
        _ => None,
    }
}

async fn read_values(State(dhis2): Shared, _: Login, Query(query): Query<BTreeMap<String, String>>) -> Result<Json<Value>, Refusal> {
    let wanted = |name: &str| query.get(name).cloned();
    let select =
        "select d.uid, to_char(p.startdate, case t.name when 'Yearly' then 'YYYY' when 'Monthly' then 'YYYYMM' else 'YYYYMMDD' end),
            o.uid, c.uid, a.uid, v.value
        from datavalue v join dataelement d using (dataelementid) join period p using (periodid) join periodtype t using (periodtypeid)
            join organisationunit o on o.organisationunitid = v.sourceid
            join categoryoptioncombo c on c.categoryoptioncomboid = v.categoryoptioncomboid
            join categoryoptioncombo a on a.categoryoptioncomboid = v.attributeoptioncomboid
        where not v.deleted and ($1::text is null or o.uid = $1) and ($2::text is null or d.uid = $2) order by 1, 2, 3";
    let rows = dhis2.client().await?.query(select, &[&wanted("orgUnit"), &wanted("dataElement")]).await?;
    let values: Vec<DataValue> = rows
        .iter()
        .map(|row| DataValue {
            data_element: row.get(0),
            period: row.get(1),
            org_unit: row.get(2),
            category_option_combo: row.get(3),
            attribute_option_combo: row.get(4),
            value: row.get(5),
        })
        .filter(|value| query.get("period").is_none_or(|period| *period == value.period))
        .collect();
    Ok(Json(json!({ "dataValues": values })))
}
