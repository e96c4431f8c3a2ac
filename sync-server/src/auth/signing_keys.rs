//! The keys that sign access tokens. They are in the database, their private halves sealed by the master key, so that
//! every node signs and verifies with the same ones; a new one is made before the old one gets old, and the old one goes
//! on verifying until nothing that it signed is valid any more.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{Method, header};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ed25519;
use crate::bytes::{hex, random_bytes};
use crate::clock::{Clock, millis};
use crate::db::wall;
use crate::master_key::MasterKey;
use crate::routes::Routes;
use crate::state::AppState;

/// How long one key signs.
const SIGNS_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long a key verifies after a newer one was made: longer than a node takes to notice, and then a token's life.
const VERIFIES_FOR: Duration = Duration::from_secs(24 * 3_600);
/// How often a node looks whether a new key is due, and takes over those that other nodes made.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// Unknown keys make a node look into the database at most this often: tokens with invented keys cost nothing else.
const RELOAD_EVERY: Duration = Duration::from_secs(1);
/// Advisory lock under which one node at a time makes keys.
const MAKING: i64 = 0x6669_746d_6501;
/// How long others may remember the public keys.
const JWKS_CACHE: &str = "public, max-age=300";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeysError {
    /// The database did not answer.
    #[error("the keys that sign access tokens cannot be read ({0})")]
    Database(#[from] sqlx::Error),
    /// The master key is another one than that of the first start.
    #[error(
        "this server's master key is not the one that sealed the keys in the database: name the right file by \
         FITME_MASTER_KEY, the same for every server of one database"
    )]
    OtherMasterKey,
    /// The master key of the first start is not here.
    #[error(
        "the keys in the database were sealed by a master key that is not here: bring its file back from your copy or from \
         another server of this database, and name it by FITME_MASTER_KEY"
    )]
    NoMasterKey,
}

/// The keys as this node knows them; cloning is cheap.
#[derive(Clone)]
pub struct SigningKeys {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    master: MasterKey,
    clock: Clock,
    known: RwLock<Known>,
    last_reload: Mutex<Option<Instant>>,
}

/// What is known of the keys: all that verify, and the newest one's private half.
struct Known {
    verifying: HashMap<String, [u8; ed25519::PUBLIC_BYTES]>,
    signing_kid: String,
    signing: EncodingKey,
}

struct Row {
    kid: String,
    public_key: Vec<u8>,
    sealed_seed: Vec<u8>,
    made_at: i64,
}

impl SigningKeys {
    /// Reads the keys, after making the first one or one that is due.
    ///
    /// # Errors
    /// When the database does not answer, or the master key does not open them.
    pub async fn open(pool: PgPool, master: MasterKey, clock: Clock) -> Result<Self, SigningKeysError> {
        ed25519::install();
        let known = RwLock::new(renew(&pool, &master, clock.now_ms(), SIGNS_FOR).await?);
        let last_reload = Mutex::new(None);
        Ok(Self { shared: Arc::new(Shared { pool, master, clock, known, last_reload }) })
    }

    /// Makes a new key where one is due and takes over what other nodes made, for as long as it is polled.
    pub async fn keep_fresh(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = self.renew_if_due().await {
                tracing::warn!(%error, "could not look after the keys that sign access tokens; trying again");
            }
        }
    }

    /// Makes a new key if the newest is old enough.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn renew_if_due(&self) -> Result<(), SigningKeysError> {
        self.renew(SIGNS_FOR).await
    }

    /// Makes a new key now.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn rotate(&self) -> Result<(), SigningKeysError> {
        self.renew(Duration::ZERO).await
    }

    async fn renew(&self, due_after: Duration) -> Result<(), SigningKeysError> {
        let Shared { pool, master, clock, known, .. } = &*self.shared;
        let renewed = renew(pool, master, clock.now_ms(), due_after).await?;
        *known.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    /// The key that signs now, and its name.
    pub(super) fn signing(&self) -> (String, EncodingKey) {
        let known = self.shared.known.read().unwrap_or_else(PoisonError::into_inner);
        (known.signing_kid.clone(), known.signing.clone())
    }

    /// The key of that name, from the database if another node made it a moment ago; `None` if there is none.
    pub(super) async fn verifying(&self, kid: &str) -> Result<Option<DecodingKey>, SigningKeysError> {
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        let mut last_reload = self.shared.last_reload.lock().await;
        if last_reload.is_none_or(|last| last.elapsed() >= RELOAD_EVERY) {
            let reloaded = self.renew_if_due().await;
            // After the attempt: those who waited for one that failed do not each make another.
            *last_reload = Some(Instant::now());
            reloaded?;
        }
        Ok(self.known(kid))
    }

    fn known(&self, kid: &str) -> Option<DecodingKey> {
        let known = self.shared.known.read().unwrap_or_else(PoisonError::into_inner);
        known.verifying.get(kid).map(|public| DecodingKey::from_ed_der(public))
    }

    /// The public keys as a JSON Web Key Set.
    fn jwks(&self) -> Value {
        let known = self.shared.known.read().unwrap_or_else(PoisonError::into_inner);
        let keys = known.verifying.iter().map(|(kid, public)| {
            let x = URL_SAFE_NO_PAD.encode(public);
            json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x })
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKeys(hidden)")
    }
}

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().open(Method::GET, "/.well-known/jwks.json", jwks)
}

async fn jwks(State(state): State<AppState>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, JWKS_CACHE)], Json(state.tokens.keys().jwks()))
}

/// Reads the keys that still verify; makes a new one first if the newest has signed for `due_after`.
async fn renew(pool: &PgPool, master: &MasterKey, now_ms: i64, due_after: Duration) -> Result<Known, SigningKeysError> {
    let mut tx = wall::of(pool, &[]).await?;
    // Of several nodes that find a key due, the first one makes it and the others read it.
    sqlx::query!(r#"SELECT pg_advisory_xact_lock($1)::text AS "locked""#, MAKING).fetch_one(&mut *tx).await?;
    let mut rows = read(&mut tx).await?;
    // Not only for the newest in the end: one that this server made would be no proof.
    rows.last().map_or(Ok(()), |newest| opened(newest, master).map(drop))?;
    if rows.last().is_none_or(|newest| newest.made_at.saturating_add(millis(due_after)) <= now_ms) {
        forget_superseded(&mut tx, &rows, now_ms).await?;
        make(&mut tx, master, now_ms).await?;
        rows = read(&mut tx).await?;
    }
    tx.commit().await?;
    known_from(&rows, master)
}

/// Checks that this is the master key which sealed the keys in the database, if there are any. Changes nothing.
///
/// # Errors
/// When it is another one, when there is none, or when the database does not answer.
pub async fn check(pool: &PgPool, master: Option<&MasterKey>) -> Result<(), SigningKeysError> {
    let rows = read(&mut *wall::of(pool, &[]).await?).await?;
    let Some(newest) = rows.last() else { return Ok(()) };
    opened(newest, master.ok_or(SigningKeysError::NoMasterKey)?).map(drop)
}

fn opened(row: &Row, master: &MasterKey) -> Result<Vec<u8>, SigningKeysError> {
    master.unseal(&seal_label(&row.kid), &row.sealed_seed).ok_or(SigningKeysError::OtherMasterKey)
}

fn known_from(rows: &[Row], master: &MasterKey) -> Result<Known, SigningKeysError> {
    let newest = rows.last().ok_or(sqlx::Error::RowNotFound)?;
    let seed = opened(newest, master)?;
    let public = |row: &Row| row.public_key.as_slice().try_into().expect("the table checks the length of public keys");
    Ok(Known {
        verifying: rows.iter().map(|row| (row.kid.clone(), public(row))).collect(),
        signing_kid: newest.kid.clone(),
        signing: EncodingKey::from_ed_der(&seed),
    })
}

/// Oldest first.
async fn read(db: &mut PgConnection) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(Row, "SELECT kid, public_key, sealed_seed, made_at FROM signing_keys ORDER BY made_at, kid")
        .fetch_all(db)
        .await
}

async fn make(db: &mut PgConnection, master: &MasterKey, now_ms: i64) -> Result<(), sqlx::Error> {
    let seed = random_bytes::<{ ed25519::SEED_BYTES }>();
    let public = ed25519::public_key(&seed).expect("a seed of the right length makes a key pair");
    let kid = hex(&blake3::hash(&public).as_bytes()[..8]);
    sqlx::query!(
        "INSERT INTO signing_keys (kid, public_key, sealed_seed, made_at) VALUES ($1, $2, $3, $4)",
        kid,
        &public[..],
        master.seal(&seal_label(&kid), &seed),
        now_ms
    )
    .execute(db)
    .await?;
    tracing::info!(kid, "made a new key that signs access tokens");
    Ok(())
}

/// Deletes keys that were followed by another one so long ago that nothing they signed is valid any more.
async fn forget_superseded(db: &mut PgConnection, rows: &[Row], now_ms: i64) -> Result<(), sqlx::Error> {
    let followed = rows.iter().zip(rows.iter().skip(1));
    let over = followed.filter(|(_, next)| next.made_at.saturating_add(millis(VERIFIES_FOR)) <= now_ms);
    let kids: Vec<String> = over.map(|(row, _)| row.kid.clone()).collect();
    sqlx::query!("DELETE FROM signing_keys WHERE kid = ANY ($1)", &kids).execute(db).await?;
    Ok(())
}

fn seal_label(kid: &str) -> String {
    format!("signing_keys/{kid}")
}
