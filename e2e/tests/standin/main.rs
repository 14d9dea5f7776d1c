//! Conformance of the stand-in: what was observed on a real DHIS2, asked of it over HTTP and in a real `PostgreSQL`.
//! `e2e/standin/README.md` maps the observations to these tests.

mod postgresql;
mod standin;

mod accounts;
mod start;
