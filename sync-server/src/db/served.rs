//! Which installation this server serves. Once that is said, connections to another one wait: the database was replaced
//! under the running server, and what ended after the backup that it comes from has to end again before anybody sees any of
//! it (`crate::endings`). Who waits too long for a connection is told that the database is away.

use std::sync::Arc;

use fitme_core::id::Installation;
use tokio::sync::{Notify, watch};

/// Shared by all connections of a server; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Served {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// `None` while any is served.
    only: watch::Sender<Option<Installation>>,
    another: Notify,
}

impl Served {
    /// From now on this one is served and no other.
    pub fn only(&self, installation: Installation) {
        self.shared.only.send_replace(Some(installation));
    }

    /// Whether this one is.
    #[must_use]
    pub fn is(&self, installation: Installation) -> bool {
        self.shared.only.borrow().is_none_or(|only| only == installation)
    }

    /// Waits until a connection leads to one that is not served.
    pub async fn another(&self) {
        self.shared.another.notified().await;
    }

    /// Waits until the installation behind a new connection is served.
    pub(super) async fn wait_for(&self, installation: Installation) {
        let mut only = self.shared.only.subscribe();
        while !self.is(installation) {
            self.shared.another.notify_one();
            if only.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn another_installation_waits_until_it_is_the_one_that_is_served() {
        let (served, before, after) = (Served::default(), Installation([1; 8]), Installation([2; 8]));
        served.wait_for(before).await;
        served.wait_for(after).await;
        served.only(before);
        served.wait_for(before).await;
        assert!(served.another().now_or_never().is_none(), "nobody has come from elsewhere");
        let waiting = tokio::spawn({
            let served = served.clone();
            async move { served.wait_for(after).await }
        });
        served.another().await;
        assert!(!waiting.is_finished());
        served.only(after);
        waiting.await.expect("it does not panic");
    }
}
