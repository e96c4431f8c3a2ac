//! `/v1/services`: what the server's programs would like to be allowed, so that an app can ask a person at sign-up. Whoever
//! says yes has their device write a grant, as for a person.

use axum::Json;
use axum::http::Method;
use fitme_core::policy::{Role, SERVICES, ServiceAsks};
use serde::Serialize;
use uuid::Uuid;

use crate::routes::Routes;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().open(Method::GET, "/v1/services", list)
}

/// A service as the grantee of a grant.
#[derive(Serialize)]
struct Listed {
    account: Uuid,
    name: &'static str,
    role: &'static str,
    purpose: &'static str,
    /// What it asks of everybody who wants it.
    feeds: Vec<Asked>,
    /// What it asks besides of who wants their moods to be looked at: off unless the person turns it on.
    feeds_with_moods: Vec<Asked>,
}

#[derive(Serialize)]
struct Asked {
    collection: &'static str,
    scope: &'static str,
    access: &'static str,
}

async fn list() -> Json<Vec<Listed>> {
    let asked = |asks: &[ServiceAsks]| {
        let asked = asks.iter().map(|(collection, scope, access)| Asked {
            collection: collection.name(),
            scope,
            access: access.name(),
        });
        asked.collect()
    };
    let listed = SERVICES.iter().map(|service| Listed {
        account: Uuid::from_bytes(service.account),
        name: service.name,
        role: Role::Service.name(),
        purpose: service.purpose.name(),
        feeds: asked(service.asks),
        feeds_with_moods: asked(service.asks_with_moods),
    });
    Json(listed.collect())
}
