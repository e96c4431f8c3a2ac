//! A person at a browser, as far as signing in at a provider needs one: it follows redirects, keeps cookies, fills in the
//! provider's forms.

use std::collections::BTreeMap;

use reqwest::{Client, Method, Response, StatusCode, Url, header, redirect};

use crate::postgres::block_on;

/// Redirects and forms of one sign-in.
const STEPS: usize = 16;

/// A browser with its cookies; they are kept by name, as it visits one provider.
#[derive(Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Opens the provider's page at `url`, signs in as `login`, allows what is asked for. Returns the address to which the
    /// provider sends the browser in the end; it is not opened.
    ///
    /// # Panics
    /// When it is sent nowhere.
    pub fn sign_in(&mut self, url: &str, login: &str) -> String {
        block_on(|| self.walk(url, login))
    }

    /// Opens an address; returns the status and where it sends the browser, or else what it shows.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn open(&mut self, url: &str) -> (StatusCode, String) {
        block_on(async || {
            let answer = self.ask(Method::GET, &parsed(url), None).await;
            let (status, location) = (answer.status(), location(&answer));
            let shown = answer.text().await.expect("the answer is whole");
            (status, location.map_or(shown, String::from))
        })
    }

    async fn walk(&mut self, url: &str, login: &str) -> String {
        let provider = parsed(url).origin();
        let (mut at, mut form) = (parsed(url), None);
        for _ in 0..STEPS {
            let method = if form.is_some() { Method::POST } else { Method::GET };
            let answer = self.ask(method, &at, form.take()).await;
            match location(&answer) {
                Some(next) if next.origin() != provider => return next.into(),
                Some(next) => at = next,
                None => {
                    let page = answer.text().await.expect("the page is whole");
                    // Two pages: who are you, and may this server know?
                    let asks_who = page.contains("name=\"login\"");
                    assert!(asks_who || page.contains("value=\"consent\""), "{at} shows no form: {page}");
                    form = Some(if asks_who {
                        vec![("prompt", "login"), ("login", login), ("password", "any")]
                    } else {
                        vec![("prompt", "consent")]
                    });
                }
            }
        }
        panic!("the provider never sent the browser back; it is at {at}")
    }

    async fn ask(&mut self, method: Method, url: &Url, form: Option<Vec<(&str, &str)>>) -> Response {
        let client = Client::builder().redirect(redirect::Policy::none()).build().expect("a client can be made");
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = client.request(method, url.clone()).header(header::COOKIE, cookies.join("; "));
        let request = form.iter().fold(request, |request, form| request.form(form));
        let answer = request.send().await.unwrap_or_else(|error| panic!("{url} does not answer: {error}"));
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().expect("a cookie is text").split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            if value.is_empty() {
                self.cookies.remove(name)
            } else {
                self.cookies.insert(name.into(), value.into())
            };
        }
        answer
    }
}

fn parsed(url: &str) -> Url {
    Url::parse(url).unwrap_or_else(|error| panic!("{url} is no address: {error}"))
}

fn location(answer: &Response) -> Option<Url> {
    let location = answer.headers().get(header::LOCATION)?.to_str().expect("an address is text");
    Some(answer.url().join(location).expect("it sends the browser to an address"))
}
