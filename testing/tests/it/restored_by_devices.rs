//! A server is lost and comes back from a backup that was taken while it worked. Nobody does anything but restore it, and
//! what it had acknowledged since comes back from the devices.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};

use fitme_testing::{Device, ServerProcess, run_server, wait_until};
use tempfile::TempDir;

use crate::consent::introduced;
use crate::stage::{lose_and_restore, notes};

/// Devices that are connected when the server is lost.
const CONNECTED: usize = 16;

/// A server, and where its backup and what it is restored into are.
struct Stage {
    safe: TempDir,
    server: ServerProcess,
}

impl Stage {
    fn new() -> Self {
        Self { safe: tempfile::tempdir().unwrap(), server: ServerProcess::start() }
    }

    fn path(&self, name: &str) -> String {
        self.safe.path().join(name).to_str().unwrap().to_owned()
    }

    /// Backs the server up while `traffic` goes on.
    fn back_up_during(&self, traffic: impl Fn() + Sync) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    traffic();
                }
            });
            let data = self.server.data().to_str().unwrap().to_owned();
            let backup = run_server(&["backup", &self.path("backup")], &[("FITME_DATA", &data)]);
            done.store(true, Ordering::Relaxed);
            assert_eq!(backup.code, 0, "{}", backup.stderr);
        });
    }

    /// The server ends, and is restored from the backup; it listens where it did.
    fn lose_and_restore(&mut self) {
        let safe = self.safe.path();
        lose_and_restore(&mut self.server, &safe.join("backup"), &safe.join("data"), &[]);
    }

    /// What a device sees that has never been here.
    fn newcomer(&self, email: &str) -> Vec<String> {
        let newcomer = Device::new("newcomer");
        newcomer.log_in(self.server.url(), email);
        newcomer.sync();
        notes(&newcomer)
    }
}

fn log(device: &Device, note: &str) {
    device.done(&["log", "mood", "--valence", "1", "--note", note]);
}

fn status(device: &Device) -> serde_json::Value {
    device.json(&["status", "--json"])["status"].take()
}

#[test]
fn a_device_that_is_ahead_of_the_restored_server_returns_first() {
    let mut stage = Stage::new();
    let (phone, tablet, busy) = (Device::new("phone"), Device::new("tablet"), Device::new("busy"));
    phone.sign_up(stage.server.url(), "ann@example.org");
    tablet.log_in(stage.server.url(), "ann@example.org");
    busy.sign_up(stage.server.url(), "ben@example.org");
    log(&phone, "before the backup");
    phone.sync();
    stage.back_up_during(|| {
        log(&busy, "meanwhile");
        busy.sync();
    });
    for note in ["acknowledged and lost", "another one"] {
        log(&phone, note);
        phone.sync();
    }
    stage.lose_and_restore();
    log(&phone, "written while it was away");
    let said = phone.done(&["sync"]);
    assert!(said.contains("the server was restored, 2 entries sent again"), "{said}");
    assert_eq!(status(&phone)["sent_again"]["entries"], 2);
    tablet.done(&["sync"]);
    let all = ["acknowledged and lost", "another one", "before the backup", "written while it was away"];
    assert_eq!(stage.newcomer("ann@example.org"), all);
    assert_eq!((notes(&phone), notes(&tablet)), (all.map(str::to_owned).to_vec(), all.map(str::to_owned).to_vec()));
    let said = phone.done(&["sync"]);
    assert!(!said.contains("restored"), "it is told once: {said}");
    for device in [&phone, &tablet] {
        assert_eq!((&status(device)["rejected"], &status(device)["pending"]), (&0.into(), &0.into()));
    }
    busy.sync();
    assert_eq!(stage.newcomer("ben@example.org"), notes(&busy));
}

/// The tablet has not seen what was lost, and writes on; the phone's number is behind the head again, and only the digests
/// tell. What the phone does is a background task's: exchanges, of which the first finds that it takes more.
#[test]
fn others_have_written_past_what_the_restored_server_lost() {
    let mut stage = Stage::new();
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(stage.server.url(), "ann@example.org");
    tablet.log_in(stage.server.url(), "ann@example.org");
    log(&phone, "before the backup");
    phone.sync();
    tablet.sync();
    stage.back_up_during(|| {
        tablet.sync();
    });
    log(&phone, "acknowledged and lost");
    phone.sync();
    stage.lose_and_restore();
    for note in ["of the tablet", "of the tablet, too"] {
        log(&tablet, note);
        tablet.sync();
    }
    let said = phone.done(&["sync", "--once"]);
    assert!(said.contains("the server was restored, 1 entry sent again"), "{said}");
    tablet.done(&["sync"]);
    let all = ["acknowledged and lost", "before the backup", "of the tablet", "of the tablet, too"];
    assert_eq!(stage.newcomer("ann@example.org"), all);
    assert_eq!((notes(&phone), notes(&tablet)), (all.map(str::to_owned).to_vec(), all.map(str::to_owned).to_vec()));
}

/// A process that watches, and is ended with the test.
struct Watching(Child);

impl Watching {
    fn of(device: &Device) -> Self {
        let mut child = device.spawn(&["sync", "--watch"]);
        let output = child.stdout.take().unwrap();
        let mut lines = BufReader::new(output).lines();
        lines.by_ref().map(Result::unwrap).find(|line| line.contains("everything is on both sides")).unwrap();
        // What nobody reads would end the process.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _it_may_have_ended = self.0.wait();
    }
}

/// Each of the devices has written something that the backup does not have, and most of them have it from each other.
#[test]
fn sixteen_devices_are_connected_when_the_server_is_lost() {
    let mut stage = Stage::new();
    let devices: Vec<_> = (0..CONNECTED).map(|n| Device::new(&format!("device {n:02}"))).collect();
    devices[0].sign_up(stage.server.url(), "ann@example.org");
    for device in &devices[1..] {
        device.log_in(stage.server.url(), "ann@example.org");
    }
    log(&devices[0], "before the backup");
    devices[0].sync();
    stage.back_up_during(|| {
        devices[1].sync();
    });
    for (n, device) in devices.iter().enumerate() {
        log(device, &format!("acknowledged and lost {n:02}"));
        device.sync();
    }
    let watching: Vec<_> = devices.iter().map(Watching::of).collect();
    stage.lose_and_restore();
    let mut all: Vec<_> = (0..CONNECTED).map(|n| format!("acknowledged and lost {n:02}")).collect();
    all.push("before the backup".to_owned());
    wait_until("the server to have again what it had acknowledged", || stage.newcomer("ann@example.org") == all);
    wait_until("every device to have it", || devices.iter().all(|device| notes(device) == all));
    drop(watching);
    for device in &devices {
        device.done(&["sync"]);
        assert_eq!(notes(device), all);
        assert_eq!((&status(device)["rejected"], &status(device)["pending"]), (&0.into(), &0.into()));
    }
}

/// The trainer wrote into what Ann shares, and Ann's devices have not seen it: the trainer's device, which wrote it, brings it
/// back, and nobody is told that anything is no longer shared.
#[test]
fn what_a_grantee_wrote_comes_back_from_the_grantees_device() {
    let mut stage = Stage::new();
    let (ann, tom) = introduced(&stage.server, "training");
    ann.done(&["log", "workout", "--title", "before the backup"]);
    ann.sync();
    tom.sync();
    stage.back_up_during(|| {
        ann.sync();
    });
    tom.done(&["log", "workout", "--for", "Ann", "--title", "planned for Ann"]);
    tom.sync();
    stage.lose_and_restore();
    let said = tom.done(&["sync"]);
    assert!(said.contains("sent again") && !said.contains("no longer shares"), "{said}");
    ann.done(&["sync"]);
    assert!(ann.done(&["list", "workouts"]).contains("planned for Ann"));
    assert!(tom.done(&["list", "workouts", "--of", "Ann"]).contains("before the backup"));
}
