//! Two devices offline for a thousand edits end as one.

use fitme_core::store::Command;
use fitme_testing::{Device, Postgres, ServerProcess};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::stage::{Look, MORNING, log_moods, store};

#[test]
fn two_devices_offline_for_a_thousand_edits_converge() {
    let database = Postgres::shared().database();
    let server = ServerProcess::on(&database.url);
    let (phone, tablet) = (Device::new("phone"), Device::new("tablet"));
    phone.sign_up(server.url(), "ann@example.org");
    tablet.log_in(server.url(), "ann@example.org");
    let shared = log_moods(&phone, 60, 1);
    phone.done(&["sync"]);
    tablet.done(&["sync"]);

    for (device, seed) in [(&phone, 2), (&tablet, 3)] {
        let (mut store, mut rng) = (store(device, seed), StdRng::seed_from_u64(seed));
        for n in 0..500 {
            let doc_id = shared[rng.random_range(0..shared.len())];
            let command = match rng.random_range(0..10) {
                0 => Command::Trash { doc_id },
                1 => Command::Restore { doc_id },
                2 => Command::Edit { doc_id, patch: json!({ "tags": { (format!("tag{}", n % 7)): true } }) },
                3..6 => Command::Edit { doc_id, patch: json!({ "energy": rng.random_range(1..=5) }) },
                _ => Command::Edit { doc_id, patch: json!({ "note": format!("seen {n} by {seed}") }) },
            };
            store.write(&command, MORNING + n, &mut rng).unwrap();
        }
    }
    phone.done(&["sync"]);
    tablet.done(&["sync", "--once"]);
    phone.done(&["sync"]);

    let (ours, theirs) = (store(&phone, 2), store(&tablet, 3));
    let heads = ours.heads().unwrap();
    assert_eq!(heads, theirs.heads().unwrap());
    let mut look = Look::at(&database);
    look.wait_for_merge();
    assert_eq!(heads, look.heads());
    let merged = look.records();
    assert_eq!(merged.len(), shared.len());
    for (doc_id, record) in merged {
        assert_eq!(ours.show(doc_id).unwrap().unwrap().record, record, "phone and server project {doc_id} differently");
        assert_eq!(
            theirs.show(doc_id).unwrap().unwrap().record,
            record,
            "tablet and server project {doc_id} differently"
        );
    }
    look.assert_gap_free();
}
