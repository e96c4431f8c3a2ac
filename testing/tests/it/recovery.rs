//! A password that is forgotten and one that is not enough, from the command line.

use fitme_testing::{Device, Postgres, ServerHere};
use sync_server::master_key::MasterKey;

const ANN: &str = "ann@example.org";

#[test]
fn ann_confirms_her_address_forgets_her_password_and_asks_for_codes() {
    let server = ServerHere::on(&Postgres::shared().database().url, &MasterKey::random());
    let phone = Device::new("phone");
    phone.sign_up(server.url(), ANN);
    let token = server.mailed(ANN, "fitme confirm");
    assert!(phone.done(&["confirm", &token]).contains("is confirmed"));

    phone.done(&["password", "--forgotten", "--email", ANN]);
    let token = server.mailed(ANN, "--token");
    // The old password was in the environment as well, and was set again as the new one.
    let phone = phone.with_new_password("another horse battery");
    assert!(phone.done(&["password", "--token", &token]).contains("every device has to log in again"));
    let old = phone.run(&["login", "--server", server.url(), "--email", ANN]);
    assert_eq!(old.code, 1, "the forgotten password is no longer one");
    let phone = phone.with_password("another horse battery");
    let signed_out = phone.run(&["sync"]);
    assert!(signed_out.code == 1 && signed_out.stderr.contains("use `fitme login` again"), "{signed_out:?}");
    phone.log_in(server.url(), ANN);

    let shown = phone.done(&["totp", "on"]);
    assert!(shown.contains("otpauth://totp/FitME:ann"), "{shown}");
    let wrong = phone.run(&["totp", "confirm", "000000"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("The code is wrong"), "{wrong:?}");
    phone.done(&["sync"]);
}
