//! The account's records of access, as the server keeps them: who read what, and where the account was logged in.

use std::collections::BTreeMap;

use fitme_core::store::Store;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::error::ServerError;
use crate::tokens::ask;

/// Records that the server gives at once.
const PAGE: usize = 200;

/// Some records, latest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AccessLog {
    /// The records.
    pub records: Vec<Record>,
    /// The records before this number are the next ones; none at the end.
    pub before: Option<i64>,
    /// What the account's devices are called.
    pub devices: BTreeMap<Uuid, String>,
    /// What the account calls others, by its grants.
    pub people: BTreeMap<Uuid, String>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its number in the account's chain.
    pub n: i64,
    /// When it happened, ms UTC.
    pub at: i64,
    /// What happened.
    pub kind: String,
    /// The rest of it; docs/schema/access-log.schema.json.
    pub detail: Value,
    /// Its hash, in which that of the record before it is.
    pub hash: String,
}

/// The latest `limit` records, or those before a number.
///
/// # Errors
/// Where the server cannot be reached, or refuses.
pub async fn latest(store: &mut Store, limit: usize, before: Option<i64>) -> Result<AccessLog, ServerError> {
    let mut log = AccessLog { before, ..AccessLog::default() };
    while log.records.len() < limit {
        let page = page(store, PAGE.min(limit - log.records.len()), log.before).await?;
        log.records.extend(page.records);
        log.devices.extend(page.devices);
        log.people.extend(page.people);
        log.before = page.before;
        if log.before.is_none() {
            break;
        }
    }
    Ok(log)
}

/// Tells the server that everything of the account was copied into a file, so that it is among the records.
///
/// # Errors
/// As [`latest`].
pub async fn note_export(store: &mut Store) -> Result<(), ServerError> {
    ask(store, Method::POST, "/v1/exports", None).await
}

async fn page(store: &mut Store, limit: usize, before: Option<i64>) -> Result<AccessLog, ServerError> {
    let before = before.map(|n| format!("&before={n}")).unwrap_or_default();
    ask(store, Method::GET, &format!("/v1/access-log?limit={limit}{before}"), None).await
}
