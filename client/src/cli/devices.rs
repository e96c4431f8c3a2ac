//! `fitme devices`: which devices the account has, their names, and the end of those that are gone.

use comfy_table::Cell;
use fitme_core::store::Store;

use super::out::{GOOD, Out, PLAIN};
use super::{Refusal, out, runtime, when};
use crate::devices::{self, Listed};

/// Characters of an id that the list shows.
const SHOWN: usize = 8;

/// What to do with the devices.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct What {
    /// Give a device another name
    #[arg(long, num_args = 2, value_names = ["DEVICE", "NAME"])]
    rename: Option<Vec<String>>,
    /// Sign a device out for good: it shows nothing until somebody logs in on it
    #[arg(long, value_name = "DEVICE")]
    revoke: Option<String>,
    /// The same for a device that is gone: it also removes what it holds when it next reaches the server
    #[arg(long, value_name = "DEVICE")]
    lost: Option<String>,
}

/// Why no device is meant.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// None or several fit.
    #[error("{text} fits {count} devices: write the name of one, or the id that `fitme devices` shows")]
    NotOne {
        /// What was written.
        text: String,
        /// How many fit.
        count: usize,
    },
    /// The one that asks.
    #[error("this is the device you are working on: use `fitme logout`")]
    ThisOne,
}

/// Lists the devices after doing what was asked.
///
/// # Errors
/// [`Refusal`] where the server cannot be reached, or no device is meant.
pub fn run(what: &What, store: &mut Store, out: &mut Out) -> Result<(), Refusal> {
    let runtime = runtime()?;
    let known = runtime.block_on(devices::list(store))?;
    if let Some(this) = known.iter().find(|device| device.this) {
        store.name_device(&this.name)?;
    }
    let ended = what.revoke.as_ref().map(|text| (text, false)).or(what.lost.as_ref().map(|text| (text, true)));
    if let Some([text, name]) = what.rename.as_deref() {
        let device = pick(&known, text)?;
        runtime.block_on(devices::rename(store, device.device, name))?;
        if device.this {
            store.name_device(name.trim())?;
        }
        let done = out.paint(GOOD, "renamed");
        return Ok(out.say(PLAIN, format!("{done} “{}” to “{}”", device.name, name.trim()))?);
    }
    if let Some((text, lost)) = ended {
        let device = pick(&known, text)?;
        if device.this {
            return Err(DeviceError::ThisOne.into());
        }
        runtime.block_on(devices::revoke(store, device.device, lost))?;
        let does = if lost { "removes what it holds" } else { "shows nothing" };
        out.say(GOOD, format!("revoked “{}”; it {does} from when it next reaches the server", device.name))?;
        return Ok(());
    }
    print(&known, out)
}

fn print(known: &[Listed], out: &mut Out) -> Result<(), Refusal> {
    let mut table = out.table(&["id", "name", "since", "last seen", ""]);
    for device in known {
        let seen = device.seen_at.map_or_else(|| "signed out".to_owned(), |at| when::show(at, None));
        let note = match (device.this, device.revoked_at, device.lost) {
            (true, ..) => "this one",
            (_, Some(_), true) => "lost",
            (_, Some(_), false) => "revoked",
            _ => "",
        };
        table.add_row(vec![
            out::faint(short(device)),
            Cell::new(&device.name),
            Cell::new(when::show(device.created_at, None)),
            Cell::new(seen),
            Cell::new(note),
        ]);
    }
    Ok(out.print(&mut table)?)
}

/// The ids of devices made within the same minutes begin alike: their ends tell them apart.
fn short(device: &Listed) -> String {
    let mut id = device.device.to_string();
    id.split_off(id.len() - SHOWN)
}

fn pick<'a>(known: &'a [Listed], text: &str) -> Result<&'a Listed, DeviceError> {
    let id = text.to_lowercase();
    let fits = |device: &&Listed| device.name == text || (id.len() >= 4 && device.device.to_string().ends_with(&id));
    let fitting: Vec<_> = known.iter().filter(fits).collect();
    match fitting[..] {
        [one] => Ok(one),
        _ => Err(DeviceError::NotOne { text: text.to_owned(), count: fitting.len() }),
    }
}
