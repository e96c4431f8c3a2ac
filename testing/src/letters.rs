//! The letters that a server wrote into its data folder, as the people who get them read them.

use std::path::Path;

use crate::waiting::wait_for;

/// All letters of the server with this data folder, in no order.
pub(crate) fn all(data: &Path) -> Vec<String> {
    let folder = std::fs::read_dir(data.join("mail")).expect("the server has made it");
    // One that is just being written may not be text yet.
    folder.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect()
}

/// The word after `command` in a letter to `email`, once it is there.
pub(crate) fn token(data: &Path, email: &str, command: &str) -> String {
    let to = format!("To: {email}");
    wait_for(&format!("a letter to {email} that says {command}"), || {
        all(data).into_iter().filter(|letter| letter.contains(&to)).find_map(|letter| {
            let rest = letter.split_once(command)?.1.to_owned();
            rest.contains('\n').then(|| rest.split_whitespace().next().map(ToOwned::to_owned))?
        })
    })
}
