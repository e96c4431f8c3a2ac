//! `fitme allow`, and what sign-up asks: whether the server's services may see something. Nobody who is not asked, or does not
//! answer, is taken to say yes.

use std::io::{self, IsTerminal, Write};

use fitme_core::policy::{SERVICES, Service};
use fitme_core::store::Store;

use super::Refusal;
use super::consent::{self, Said};
use super::out::{FAINT, Out};

/// What to let a service see.
#[derive(Debug, clap::Args)]
pub struct Permission {
    /// insights or notifications
    #[arg(value_name = "SERVICE", value_parser = service)]
    service: &'static Service,
    /// Also what you log about your moods
    #[arg(long)]
    moods: bool,
}

/// What services may see of a new account.
#[derive(Debug, clap::Args)]
pub struct AtSignUp {
    /// Let a service see what it asks for: insights or notifications, as often as wanted [default: on a terminal you are
    /// asked, elsewhere none]
    #[arg(long, value_name = "SERVICE", value_parser = service)]
    allow: Vec<&'static Service>,
    /// Let no service see anything, without being asked
    #[arg(long, conflicts_with = "allow")]
    allow_none: bool,
}

fn service(name: &str) -> Result<&'static Service, String> {
    Service::named(name).ok_or_else(|| {
        let names: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
        format!("the services are {}", names.join(" and "))
    })
}

/// Lets a service see something from the next sync on, and nothing else than that.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn allow(permission: &Permission, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let Permission { service, moods } = permission;
    consent::allow(service, *moods, store, out)?;
    out.say(FAINT, "it takes effect everywhere with the next `fitme sync`")?;
    Ok(())
}

/// Asks a new account's person about each service, unless that was said already.
///
/// # Errors
/// [`Refusal`] as the store gives it.
pub fn at_sign_up(said: &AtSignUp, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let is_said = said.allow_none || !said.allow.is_empty();
    let nobody_to_ask = is_said || !io::stdin().is_terminal();
    let mut allowed = Vec::new();
    for service in &SERVICES {
        let yes = if nobody_to_ask { said.allow.contains(&service) } else { asked(service, out)? };
        if yes {
            consent::allow(service, false, store, out)?;
            allowed.push(service.name);
        }
    }
    match allowed.first() {
        Some(one) => {
            out.say(FAINT, format!("it takes effect with the next `fitme sync`; `fitme revoke {one}` ends it"))?
        }
        // Who has said no need not be asked again.
        None if is_said => {}
        None => out.say(FAINT, "no service sees anything of yours; `fitme allow insights` would let one")?,
    }
    Ok(())
}

fn asked(service: &Service, out: &mut Out) -> Result<bool, Refusal> {
    consent::print_service(service, out)?;
    out.flush()?;
    Ok(consent::ask_person("Allow this?")? == Said::Yes)
}
