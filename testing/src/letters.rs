//! The letters that a server wrote into its data folder, as the people who get them read them.

use std::path::Path;
use std::time::{Duration, Instant};

/// No letter takes longer, however busy the computer is.
const PATIENCE: Duration = Duration::from_secs(60);

/// All letters of the server with this data folder, in no order.
pub(crate) fn all(data: &Path) -> Vec<String> {
    let folder = std::fs::read_dir(data.join("mail")).expect("the server has made it");
    // One that is just being written may not be text yet.
    folder.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect()
}

/// The word after `command` in a letter to `email`, once it is there.
#[expect(clippy::disallowed_methods, reason = "a pause between two looks at another process, with a deadline")]
pub(crate) fn token(data: &Path, email: &str, command: &str) -> String {
    let until = Instant::now() + PATIENCE;
    let to = format!("To: {email}");
    loop {
        let found = all(data).into_iter().filter(|letter| letter.contains(&to)).find_map(|letter| {
            let rest = letter.split_once(command)?.1.to_owned();
            rest.contains('\n').then(|| rest.split_whitespace().next().map(ToOwned::to_owned))?
        });
        if let Some(token) = found {
            return token;
        }
        assert!(Instant::now() < until, "no letter to {email} says {command}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
