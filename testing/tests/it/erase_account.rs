//! Ann erases her account: everything goes, her devices empty themselves, and her trainer has nothing of hers any more.

use std::path::PathBuf;
use std::process::Child;

use axum::http::StatusCode;
use axum::{Json, Router};
use fitme_testing::{Device, Postgres, ServerProcess, wait_until};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::consent::introduced;
use crate::erase::{MARKER, files_with_marker, tables_with_marker};
use crate::running::Running;
use crate::stage::Look;

fn files(device: &Device) -> usize {
    std::fs::read_dir(device.home()).unwrap().count()
}

fn watching(device: &Device) -> Running {
    let child: Child = device.spawn(&["sync", "--watch"]);
    Running(child)
}

#[test]
fn an_erased_account_leaves_nothing_in_database_devices_and_the_trainers_home() {
    let database = Postgres::shared().database();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("erasures");
    let server = ServerProcess::start_with(Some(&database.url), &[("FITME_ERASURES", list.to_str().unwrap())]);
    let (phone, tom) = introduced(&server, "training");
    let (tablet, watch) = (Device::new("tablet"), Device::new("watch"));
    tablet.log_in(server.url(), "ann@example.org");
    watch.log_in(server.url(), "ann@example.org");
    phone.done(&["log", "workout", "--title", MARKER, "--set", "Squat 5x100kg"]);
    phone.sync();
    for device in [&tablet, &tom, &watch] {
        device.sync();
        assert!(!files_with_marker(device.home()).is_empty());
    }
    Look::at(&database).wait_for_merge();
    let (_watching, _toms) = (watching(&watch), watching(&tom));

    let refused = phone.run(&["erase", "--account", "--email", "tom@example.org"]);
    assert!(refused.code == 1 && refused.stderr.contains("not the address"), "{}", refused.stderr);
    let wrong = phone.run(&["erase", "--account"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("--email"), "{}", wrong.stderr);
    let receipt = folder.path().join("receipt.json");
    let said =
        phone.done(&["erase", "--account", "--email", "ann@example.org", "--receipt", receipt.to_str().unwrap()]);
    assert!(said.contains("backups may hold it until") && said.contains("this home is empty"), "{said}");
    assert_eq!(files(&phone), 0);
    let receipt: serde_json::Value = serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
    assert_eq!((receipt["devices"].as_i64(), receipt["shared_with"].as_i64()), (Some(3), Some(1)));

    wait_until("the watching device to empty itself", || files(&watch) == 0);
    wait_until("Tom's watching device to forget her", || files_with_marker(tom.home()).is_empty());
    let told = tablet.run(&["sync"]);
    assert!(told.code == 1 && told.stderr.contains("account was erased"), "{}", told.stderr);
    assert_eq!(files(&tablet), 0);
    assert_eq!(tables_with_marker(&database), [] as [PathBuf; 0]);
    let account = receipt["account"].as_str().unwrap();
    wait_until("the list beside the backups", || {
        std::fs::read_to_string(&list).unwrap_or_default().contains(&format!("account {account}"))
    });

    let anew = Device::new("new phone");
    anew.sign_up(server.url(), "ann@example.org");
    assert_eq!(anew.done(&["list", "workouts"]), "no workouts here\n", "the address is free, and nothing comes back");
    let reused = "SELECT count(*) FROM feeds JOIN retired_feeds USING (feed)";
    assert_eq!(Look::at(&database).number(reused), 0);
}

/// A server that says to whatever it is asked that the account was erased.
fn liar() -> (String, Runtime) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let error = json!({ "error": { "code": "account_erased", "message": "The account was erased." } });
    let lie = Router::new().fallback(async move || (StatusCode::UNAUTHORIZED, Json(error.clone())));
    runtime.spawn(axum::serve(listener, lie).into_future());
    (url, runtime)
}

/// Ann typed the address of another server at `fitme login`: its word was enough to remove all she had.
#[test]
fn a_server_that_is_not_the_homes_own_empties_nothing() {
    let server = ServerProcess::on(&Postgres::shared().database().url);
    let (elsewhere, _runtime) = liar();
    let phone = Device::new("phone").with_new_password("another horse battery");
    phone.sign_up(server.url(), "ann@example.org");
    phone.done(&["log", "mood", "--valence", "1"]);
    let before = files(&phone);
    for command in [
        &["login", "--email", "ann@example.org"][..],
        &["confirm", "token"],
        &["password", "--token", "token"],
        &["password", "--forgotten", "--email", "ann@example.org"],
        &["login", "--oidc"],
    ] {
        let told = phone.run(&[command, &["--server", &elsewhere]].concat());
        assert!(told.code == 1 && told.stderr.contains("it is not the one of this home"), "{command:?}: {told:?}");
        assert_eq!(files(&phone), before, "{command:?}");
    }
    assert!(phone.done(&["sync"]).contains("synced: 1 sent"));
}
