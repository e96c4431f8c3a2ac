//! A question on the terminal, before something that cannot be undone.

use std::io::{self, IsTerminal, Write};

/// What the person types after `question`; `None` where there is no terminal to ask on.
///
/// # Errors
/// When the terminal fails.
pub fn typed(question: &str) -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    write!(io::stderr(), "{question}")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(answer.trim().to_owned()))
}
