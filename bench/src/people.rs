//! Accounts made in the database itself: a thousand sign-ups would measure nothing but the hashing of passwords.

use anyhow::{Context, Result};
use fitme_core::id::{Epoch, FeedId};
use fitme_core::policy::Access;
use fitme_core::store::{Adoption, Identity, Tokens};
use fitme_core::wire::FeedGranted;
use sqlx::PgPool;
use sync_server::account_feeds::{self, AccountFeed};
use sync_server::accounts::{devices, sign_ins};
use sync_server::auth::Device;
use sync_server::clock::Clock;
use uuid::Uuid;

/// An account with one device.
pub struct Person {
    /// As the server knows the device.
    pub device: Device,
    /// As the device knows itself.
    pub adoption: Adoption,
}

impl From<Adoption> for Person {
    fn from(adoption: Adoption) -> Self {
        let Identity { account, device, .. } = adoption.identity;
        Self { device: Device { device: Uuid::from_bytes(device), account: Uuid::from_bytes(account) }, adoption }
    }
}

/// Makes accounts that are served at `server`.
pub async fn move_in(pool: &PgPool, server: &str, count: usize) -> Result<Vec<Person>> {
    let mut people = Vec::with_capacity(count);
    for _ in 0..count {
        people.push(person(pool, server).await?);
    }
    Ok(people)
}

async fn person(pool: &PgPool, server: &str) -> Result<Person> {
    let account = Uuid::now_v7();
    let email = format!("{account}@example.org");
    let mut tx = pool.begin().await?;
    sqlx::query("INSERT INTO accounts (account, email, password_hash) VALUES ($1, $2, '')")
        .bind(account)
        .bind(&email)
        .execute(&mut *tx)
        .await?;
    let feeds = account_feeds::ensure_feeds(&mut tx, account).await?;
    let device = devices::register(&mut tx, account, "bench", None).await?;
    let device = Device { device, account };
    let sign_in = sign_ins::begin(&mut tx, device, Clock::default().now_ms()).await?;
    tx.commit().await?;
    let identity = Identity {
        account: account.into_bytes(),
        device: device.device.into_bytes(),
        email,
        device_name: "bench".to_owned(),
        server: server.to_owned(),
        tokens: Tokens { refresh: sign_in.refresh_token.text(), ..Tokens::default() },
    };
    let feeds = feeds.into_iter().map(|feed| granted(account, feed)).collect::<Result<_>>()?;
    Ok(Person::from(Adoption { identity, feeds }))
}

fn granted(account: Uuid, feed: AccountFeed) -> Result<FeedGranted> {
    let epoch = u64::from_str_radix(&feed.epoch, 16).context("an epoch is 8 bytes in hex")?;
    Ok(FeedGranted {
        feed: FeedId(feed.feed.cast_unsigned()),
        account: account.into_bytes(),
        collection: feed.collection,
        scope: feed.scope,
        access: Access::Write,
        owner_name: String::new(),
        epoch: Epoch(epoch.to_be_bytes()),
    })
}
