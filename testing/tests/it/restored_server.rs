//! A server comes back from a backup that is older than what people ended: it has ended.

use std::path::Path;

use fitme_testing::{Device, ServerProcess, wait_until};

use crate::consent::introduced;
use crate::erase::{MARKER, files_with_marker};
use crate::stage::lose_and_restore;

fn lines(list: &Path) -> Vec<String> {
    std::fs::read_to_string(list).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

fn has(list: &Path, kind: &str, end: &str) -> bool {
    lines(list).iter().any(|line| line.starts_with(kind) && line.ends_with(end))
}

/// Tom saw Ann's workouts again, her stolen tablet was let in, and Ben, who had erased his account, had one.
#[test]
fn what_ended_after_the_backup_has_ended_on_the_restored_server() {
    let safe = tempfile::tempdir().unwrap();
    let list = safe.path().join("list");
    let listing = ("FITME_ERASURES", list.to_str().unwrap());
    let mut server = ServerProcess::start_with(None, &[listing]);
    let (ann, tom) = introduced(&server, "training");
    let (tablet, watch, ben) = (Device::new("tablet"), Device::new("watch"), Device::new("Ben's phone"));
    for device in [&tablet, &watch] {
        device.log_in(server.url(), "ann@example.org");
    }
    ben.sign_up(server.url(), "ben@example.org");
    ann.done(&["log", "workout", "--title", MARKER, "--set", "Squat 5x100kg"]);
    ann.sync();
    tom.sync();
    assert!(!files_with_marker(tom.home()).is_empty());
    let file = safe.path().join("backup");
    let backup = server.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(backup.code, 0, "{}", backup.stderr);

    ann.done(&["revoke", "Tom"]);
    ann.sync();
    tom.sync();
    assert!(files_with_marker(tom.home()).is_empty());
    ann.done(&["devices", "--lost", "tablet"]);
    ann.done(&["devices", "--revoke", "watch"]);
    ben.done(&["erase", "--account", "--email", "ben@example.org"]);
    wait_until("all of it to be listed beside the backup", || {
        has(&list, "grant ", "")
            && has(&list, "device ", "lost")
            && has(&list, "device ", "revoked")
            && has(&list, "account ", "")
    });
    assert!(!lines(&list).concat().contains("example.org"), "ids alone: {:?}", lines(&list));
    lose_and_restore(&mut server, &file, &safe.path().join("data"), &[listing]);

    tom.sync();
    assert!(tom.done(&["clients"]).contains("nobody shares anything with you"));
    ann.done(&["log", "workout", "--title", MARKER, "--set", "Squat 6x100kg"]);
    ann.sync();
    tom.sync();
    assert!(files_with_marker(tom.home()).is_empty(), "Tom sees nothing of what Ann ended");
    assert_eq!(ann.done(&["grants"]), "nothing is shared with anybody\n");
    let lost = tablet.run(&["sync"]);
    assert!(lost.code == 1 && lost.stderr.contains("reported lost"), "{lost:?}");
    assert_eq!(std::fs::read_dir(tablet.home()).unwrap().count(), 0);
    let revoked = watch.run(&["sync"]);
    assert!(revoked.code == 1 && revoked.stderr.contains("was revoked"), "{revoked:?}");
    let gone = ben.run(&["login", "--server", server.url(), "--email", "ben@example.org", "--device", "phone"]);
    assert!(gone.code == 1 && gone.stderr.contains("address or password is wrong"), "{gone:?}");
    let log = ann.done(&["access-log"]);
    assert!(log.contains("the server"), "who ended it again: {log}");
}
