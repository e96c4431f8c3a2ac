//! The routes of the server: a router, and beside it the list of what is in it, so that who may ask what is said once and
//! can be read. A test walks the list and fails at a route about which it does not know what each role gets.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};

use crate::auth::authenticate;
use crate::state::AppState;

/// Whom a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Anybody.
    Open,
    /// A device that is signed in.
    Closed,
}

/// One thing that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// By which method.
    pub method: Method,
    /// Where, with `{name}` for what varies.
    pub path: &'static str,
    /// By whom.
    pub door: Door,
}

/// Routes, each added with the decision whom it answers.
#[derive(Default)]
pub struct Routes {
    open: Router<AppState>,
    closed: Router<AppState>,
    list: Vec<Route>,
}

impl Routes {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route that answers anybody.
    #[must_use]
    pub fn open<H: Handler<T, AppState>, T: 'static>(self, method: Method, path: &'static str, handler: H) -> Self {
        let served = on(filter(&method), handler);
        Self { open: self.open.route(path, served), ..self }.listing(method, path, Door::Open)
    }

    /// Adds a route that answers signed-in devices.
    #[must_use]
    pub fn closed<H: Handler<T, AppState>, T: 'static>(self, method: Method, path: &'static str, handler: H) -> Self {
        let served = on(filter(&method), handler);
        Self { closed: self.closed.route(path, served), ..self }.listing(method, path, Door::Closed)
    }

    fn listing(mut self, method: Method, path: &'static str, door: Door) -> Self {
        self.list.push(Route { method, path, door });
        self
    }

    /// Adds all of `others`.
    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.list.extend(others.list);
        Self { open: self.open.merge(others.open), closed: self.closed.merge(others.closed), list: self.list }
    }

    /// What there is to ask for.
    #[must_use]
    pub fn list(&self) -> &[Route] {
        &self.list
    }

    /// The routes as axum serves them; those that are closed ask for the token first.
    pub(crate) fn guarded(self, state: &AppState) -> Router<AppState> {
        self.open.merge(self.closed.route_layer(from_fn_with_state(state.clone(), authenticate)))
    }
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).expect("routes are added under the methods that HTTP names")
}
