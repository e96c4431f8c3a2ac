//! Who works on the database: the owner of the tables, who migrates, and the login of the server, which owns nothing and
//! may only take the roles of [`super::wall`], transaction by transaction.

use sqlx::{AssertSqlSafe, PgConnection};

use super::wall::Role;
use super::{DatabaseError, MIGRATIONS_TABLE};

/// The roles that transactions take.
const ROLES: [Role; 4] = [Role::Server, Role::Poll, Role::Merge, Role::Tidy];

/// Makes the roles that the migrations give rights to. A dump needs them too before it is restored.
///
/// # Errors
/// When the one who is logged in may not make roles.
pub async fn create(owner: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(include_str!("roles.sql")).execute(owner).await.map(drop)
}

/// Lets `login` work for the server; makes it, without a password, if there is no such role. What is as it should be is not
/// touched: PostgreSQL refuses to change a role twice at the same moment, and other databases may be migrated.
///
/// # Errors
/// When it is the owner's own login, or the owner may not grant roles.
pub(super) async fn admit(owner: &mut PgConnection, login: &str) -> Result<(), DatabaseError> {
    let found = sqlx::query!(
        r#"SELECT quote_ident($1) AS "quoted!", $1 = current_user AS "is_owner!",
                  (SELECT rolinherit FROM pg_roles WHERE rolname = $1) AS inherits,
                  (SELECT count(*) FROM pg_auth_members m JOIN pg_roles taken ON taken.oid = m.roleid
                   JOIN pg_roles login ON login.oid = m.member
                   WHERE login.rolname = $1 AND taken.rolname = ANY ($2)) AS "taken!""#,
        login,
        &names()
    )
    .fetch_one(&mut *owner)
    .await?;
    if found.is_owner {
        return Err(DatabaseError::OneLogin(login.to_owned()));
    }
    let login = found.quoted;
    if found.inherits.is_none() {
        execute(owner, format!("CREATE ROLE {login} LOGIN NOINHERIT")).await?;
        tracing::warn!(
            role = login,
            "made the role that DATABASE_URL names; where it logs in by password, give it one"
        );
    }
    // Otherwise it would have the rights of all roles at once, all the time.
    if found.inherits == Some(true) {
        execute(owner, format!("ALTER ROLE {login} NOINHERIT")).await?;
    }
    if found.taken < ROLES.len() as i64 {
        execute(owner, format!("GRANT {} TO {login}", names().join(", "))).await?;
    }
    Ok(execute(owner, format!("GRANT SELECT ON {MIGRATIONS_TABLE} TO {login}")).await?)
}

async fn execute(owner: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(owner).await.map(drop)
}

/// Refuses a login that row-level security would not hold, or that may not work for the server.
///
/// # Errors
/// Those two.
pub(super) async fn check(server: &mut PgConnection) -> Result<(), DatabaseError> {
    let login = sqlx::query!(
        r#"SELECT current_user::text AS "name!",
                  EXISTS (SELECT FROM pg_roles r WHERE (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole)
                          AND pg_has_role(current_user, r.oid, 'MEMBER')) AS "mighty!",
                  EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
                          AND pg_has_role(current_user, c.relowner, 'MEMBER')) AS "owner!",
                  EXISTS (SELECT FROM pg_roles r WHERE r.rolname = ANY ($1)
                          AND pg_has_role(current_user, r.oid, 'USAGE')) AS "inherits!",
                  (SELECT count(*) FROM pg_roles r WHERE r.rolname = ANY ($1)
                          AND pg_has_role(current_user, r.oid, 'MEMBER')) AS "admitted!""#,
        &names()
    )
    .fetch_one(server)
    .await?;
    if login.mighty || login.owner {
        let why = if login.mighty { "may do everything, or make roles that may" } else { "owns its tables" };
        return Err(DatabaseError::TooMighty { login: login.name, why });
    }
    if login.inherits || login.admitted != ROLES.len() as i64 {
        return Err(DatabaseError::NotAdmitted(login.name));
    }
    Ok(())
}

fn names() -> Vec<String> {
    ROLES.iter().map(|role| role.name().to_owned()).collect()
}
