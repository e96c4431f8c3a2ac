//! How the provider is asked: over ways that nobody listens on, for a bounded time, and for a bounded answer.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::http::Response;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::{Client, Request, redirect};

use super::settings::keeps_secrets;

/// How long one request may take: two of them, one after the other, fit the time in which a device is to be answered, so that it
/// hears why and not only that it took too long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest answer that is read.
const ANSWER_BYTES: usize = 256 << 10;

/// An HTTP client for `openidconnect`; cloning is cheap.
#[derive(Clone)]
pub struct BoundedHttp(Client);

/// Why there was no answer; for the log.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The network.
    #[error("{0}")]
    Network(reqwest::Error),
    /// What is sent there could be read on the way.
    #[error("it named an address that is not https")]
    Readable,
    /// More than is read.
    #[error("its answer is longer than {ANSWER_BYTES} bytes")]
    TooLong,
}

/// An address may hold what is nobody's business.
impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        Self::Network(error.without_url())
    }
}

impl BoundedHttp {
    /// # Errors
    /// When no connections can be made at all.
    pub fn new() -> reqwest::Result<Self> {
        // A provider that redirects could have the secret sent anywhere.
        let client = Client::builder().timeout(ANSWER_TIMEOUT).redirect(redirect::Policy::none());
        Ok(Self(client.build()?))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Unanswered> {
        let request = Request::try_from(request)?;
        if !keeps_secrets(request.url()) {
            return Err(Unanswered::Readable);
        }
        let mut answer = self.0.execute(request).await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(Unanswered::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body);
        *response.status_mut() = answer.status();
        std::mem::swap(response.headers_mut(), answer.headers_mut());
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for BoundedHttp {
    type Error = Unanswered;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Unanswered>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
