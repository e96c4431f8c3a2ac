//! The second wall: every transaction of the server, each with the list of the accounts whose rows it may touch.
//!
//! What the code forgets to judge, PostgreSQL refuses: a statement sees the rows of the accounts of the list and no others
//! (migration 0007). The login of the server has no rights at all until a transaction takes a [`Role`], so that a statement
//! outside of one fails instead of reading too much.

use std::fmt::Write;

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, SqlSafeStr, Transaction};
use uuid::Uuid;

use crate::error::is_absence;

/// A transaction behind the wall. Who only reads need not commit: dropping it ends it, and nobody waits for that.
pub type Walled = Transaction<'static, Postgres>;

/// The beginning of a transaction that is like any other.
pub const BEGIN: &str = "BEGIN";
/// The beginning of one that sees the database as of one moment and changes nothing.
pub const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What a transaction may do at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Serve the accounts of its list.
    Server,
    /// See that something changed, of everybody, and not what.
    Poll,
    /// See which feeds wait to be merged, and take them.
    Merge,
    /// Remove what is over.
    Tidy,
    /// Sign and check records of access, and see whose wait to be taken further.
    Audit,
    /// See which accounts there are and which entries are damaged, and say whether anybody may make an account.
    Admin,
}

impl Role {
    /// As PostgreSQL knows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "fitme_server",
            Self::Poll => "fitme_poll",
            Self::Merge => "fitme_merge",
            Self::Tidy => "fitme_tidy",
            Self::Audit => "fitme_audit",
            Self::Admin => "fitme_admin",
        }
    }
}

/// A transaction on the rows of these accounts.
///
/// # Errors
/// When the database does not answer.
pub async fn of(pool: &PgPool, accounts: &[Uuid]) -> Result<Walled, sqlx::Error> {
    begin(pool, BEGIN, accounts).await
}

/// The same, begun by the statements of `how`: its isolation, its settings.
///
/// # Errors
/// When the database does not answer.
pub async fn begin(pool: &PgPool, how: &'static str, accounts: &[Uuid]) -> Result<Walled, sqlx::Error> {
    start(pool, beginning(how, Role::Server, accounts)).await
}

/// The same on a connection that the caller keeps.
///
/// # Errors
/// When the database does not answer.
pub async fn begin_on<'c>(
    connection: &'c mut PgConnection,
    how: &'static str,
    accounts: &[Uuid],
) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
    connection.begin_with(AssertSqlSafe(beginning(how, Role::Server, accounts))).await
}

/// A transaction of a role that needs no list.
///
/// # Errors
/// When the database does not answer.
pub async fn begin_as(pool: &PgPool, how: &'static str, role: Role) -> Result<Walled, sqlx::Error> {
    start(pool, beginning(how, role, &[])).await
}

/// Replaces the list of the running transaction: what it has just found out or judged says whose rows it needs.
///
/// # Errors
/// When the database does not answer.
pub async fn enter(db: &mut PgConnection, accounts: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT set_config('fitme.accounts', $1, true)", list(accounts)).fetch_one(db).await.map(drop)
}

/// Begin, role and list in one message. Ids have no character that could end the quotes.
fn beginning(how: &str, role: Role, accounts: &[Uuid]) -> String {
    format!("{how}; SET LOCAL ROLE {}; SET LOCAL fitme.accounts = '{}'", role.name(), list(accounts))
}

/// As PostgreSQL writes an array.
fn list(accounts: &[Uuid]) -> String {
    let mut text = String::from("{");
    for (at, account) in accounts.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{account}");
    }
    text + "}"
}

/// The pool does not ask its connections whether they live, because this message does: those that died in the pool are
/// dropped here until one lives, or none is left and a new one is made.
async fn start(pool: &PgPool, beginning: String) -> Result<Walled, sqlx::Error> {
    let beginning = AssertSqlSafe(beginning).into_sql_str();
    let mut idle = pool.num_idle();
    loop {
        let connection = pool.acquire().await?;
        match Transaction::begin(connection, Some(beginning.clone())).await {
            Err(error) if is_absence(&error) && idle > 0 => idle -= 1,
            begun => return begun,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_says_in_one_message_what_it_is_and_whose_rows_it_may_touch() {
        assert_eq!(
            beginning(BEGIN, Role::Poll, &[]),
            "BEGIN; SET LOCAL ROLE fitme_poll; SET LOCAL fitme.accounts = '{}'"
        );
        let (ann, ben) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(beginning(BEGIN, Role::Server, &[ann, ben]).ends_with(&format!(" = '{{{ann},{ben}}}'")));
    }
}
