//! A device in this process: the shipped store and client on a real file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fitme_client::account::{self, Credentials, Joining};
use fitme_client::sync::{self, Report};
use fitme_core::id::DocId;
use fitme_core::store::{Adoption, Command, Store};
use fitme_testing::realistic::{Act, Diary};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// A device.
pub struct Phone {
    /// Its store.
    pub store: Store,
    rng: StdRng,
    open_workout: Option<DocId>,
}

impl Phone {
    /// A new device with its store in `folder`; `name` is its writer's too.
    pub fn new(folder: &Path, name: &str, seed: u64) -> Result<Self> {
        Self::open(&folder.join(format!("{name}.db")), name, seed)
    }

    /// A device whose store begins as a copy of another's, written on under a writer of its own.
    pub fn copy_of(original: &Path, folder: &Path, name: &str, seed: u64) -> Result<Self> {
        let file = folder.join(format!("{name}.db"));
        fs::copy(original, &file).context("the store of the other device can be copied")?;
        Self::open(&file, name, seed)
    }

    /// A device whose store is there already; `seed` must be another one than before.
    pub fn reopen(file: &Path, name: &str, seed: u64) -> Result<Self> {
        Self::open(file, name, seed)
    }

    fn open(file: &Path, name: &str, seed: u64) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed ^ u64::from_le_bytes(*b"a phone!"));
        let store = Store::open(file, name, &mut rng)?;
        Ok(Self { store, rng, open_workout: None })
    }

    /// Closes the store, so that its one file holds everything.
    pub fn close(self) -> PathBuf {
        self.store.path().to_owned()
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// Does one act of a diary; returns the record that it is about.
    pub fn write(&mut self, act: &Act) -> Result<DocId> {
        let command = match act {
            Act::Log { collection, fields, .. } => {
                Command::Create { collection: (*collection).to_owned(), fields: fields.clone() }
            }
            Act::Set { patch, .. } => {
                let doc_id = self.open_workout.context("a diary logs sets only into a workout")?;
                Command::Edit { doc_id, patch: patch.clone() }
            }
        };
        let doc_id = self.carry_out(&command, act.at_ms())?;
        if matches!(act, Act::Log { collection: "workouts", .. }) {
            self.open_workout = Some(doc_id);
        }
        Ok(doc_id)
    }

    /// Does the next `acts` of a diary.
    pub fn live_through(&mut self, diary: &mut Diary, acts: usize) -> Result<()> {
        diary.take(acts).try_for_each(|act| self.write(&act).map(drop))
    }

    /// Carries out one command.
    pub fn carry_out(&mut self, command: &Command, now_ms: i64) -> Result<DocId> {
        Ok(self.store.write(command, now_ms, &mut self.rng)?.doc_id)
    }

    /// Makes an account and becomes its first device.
    pub async fn sign_up(&mut self, server: &str, email: &str) -> Result<Adoption> {
        let adoption = account::sign_up(server, &credentials(email)).await?;
        self.store.adopt(&adoption, &mut rand::rng())?;
        Ok(adoption)
    }

    /// Becomes one more device of an account.
    pub async fn log_in(&mut self, server: &str, email: &str) -> Result<Adoption> {
        let adoption = account::log_in(server, &credentials(email)).await?;
        self.store.adopt(&adoption, &mut rand::rng())?;
        Ok(adoption)
    }

    /// Goes to its server by another address from now on.
    pub fn reach_by(&mut self, server: &str) -> Result<()> {
        let mut identity = self.store.identity()?.context("the device has an account")?;
        server.clone_into(&mut identity.server);
        Ok(self.store.adopt(&Adoption { identity, feeds: Vec::new() }, &mut rand::rng())?)
    }

    /// Syncs until both sides have everything.
    pub async fn sync(&mut self) -> Result<Report> {
        Ok(sync::until_synced(&mut self.store).await?)
    }
}

/// What devices of the measurements sign in with.
pub fn credentials(email: &str) -> Credentials {
    Credentials {
        email: email.to_owned(),
        password: "only for measuring".to_owned(),
        role: None,
        joining: Joining {
            device_name: "bench".to_owned(),
            device: None,
            keep_name: false,
            public_key: None,
            code: None,
        },
    }
}
