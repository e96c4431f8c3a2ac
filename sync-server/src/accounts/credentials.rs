//! What a person types to sign up or log in, and which of it is taken.

use fitme_core::policy::Role;
use serde::Deserialize;
use uuid::Uuid;

use crate::error::{ApiError, Refusal};

/// Longest e-mail address that mail servers carry, in bytes.
const EMAIL_MAX_BYTES: usize = 254;
/// Shortest password, in bytes.
const PASSWORD_MIN_BYTES: usize = 8;
/// Longest password, in bytes: longer ones only make the server hash more.
const PASSWORD_MAX_BYTES: usize = 1024;
/// Longest name of a device, in bytes.
pub(super) const DEVICE_NAME_MAX_BYTES: usize = 128;

/// What anybody may declare to be at sign-up: it lets them ask others, and the others decide.
const SELF_DECLARED: [Role; 3] = [Role::Member, Role::Trainer, Role::Nutritionist];

/// The body of sign-up and login. Not `Debug`: it holds a password.
#[derive(Deserialize)]
pub struct Credentials {
    /// E-mail address of the account.
    pub email: String,
    /// Its password.
    pub password: String,
    /// How the person knows this device in a list.
    pub device_name: String,
    /// Whether a device that is known keeps the name that the account gave it: nobody chose another one.
    #[serde(default)]
    pub keep_name: bool,
    /// What the account is to be; at sign-up only, where it is `member` if it is not said.
    #[serde(default)]
    pub role: Option<String>,
    /// The device that the home was before, so that it stays the same one: its writers' actors are bound to it.
    #[serde(default)]
    pub device: Option<Uuid>,
    /// Public half of the device's key pair, base64 for URLs; an app of the version before keys has none.
    #[serde(default)]
    pub public_key: Option<String>,
    /// Where the account asks for one: of the second factor, or a recovery code.
    #[serde(default)]
    pub code: Option<String>,
}

impl Credentials {
    /// For a new account everything has to be in order.
    pub(super) fn checked_for_sign_up(self) -> Result<Self, Refusal> {
        checked_new_password(&self.password)?;
        let role = self.role.as_deref().map_or(Some(Role::Member), Role::named);
        if !role.is_some_and(|role| SELF_DECLARED.contains(&role)) {
            let names: Vec<_> = SELF_DECLARED.iter().map(|role| role.name()).collect();
            return Err(ApiError::BadRequest.because(format!("role must be one of {}.", names.join(", "))));
        }
        self.checked_for_login()
    }

    /// At login only what would be costly or unstorable is refused: a password that nobody can have is simply wrong.
    pub(super) fn checked_for_login(self) -> Result<Self, Refusal> {
        if self.password.len() > PASSWORD_MAX_BYTES {
            return Err(ApiError::WrongCredentials.into());
        }
        let email = normalised_email(&self.email)
            .ok_or_else(|| ApiError::BadRequest.because("The e-mail address must look like name@example.org."))?;
        let device_name = checked_device_name(&self.device_name)?;
        Ok(Self { email, device_name, ..self })
    }
}

/// Refuses a password that may not be chosen.
pub(super) fn checked_new_password(password: &str) -> Result<(), Refusal> {
    if (PASSWORD_MIN_BYTES..=PASSWORD_MAX_BYTES).contains(&password.len()) {
        return Ok(());
    }
    let sentence =
        format!("The password must have {PASSWORD_MIN_BYTES} to {PASSWORD_MAX_BYTES} bytes; choose another.");
    Err(ApiError::BadRequest.because(sentence))
}

/// A name that people know a device by, trimmed.
pub(super) fn checked_device_name(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    if name.is_empty() || name.len() > DEVICE_NAME_MAX_BYTES || name.contains(char::is_control) {
        let sentence = format!("device_name must be 1 to {DEVICE_NAME_MAX_BYTES} bytes of plain text.");
        return Err(ApiError::BadRequest.because(sentence));
    }
    Ok(name.to_owned())
}

/// Lower case, so that an address is the same on every device whatever the database's locale; `None` if it is no address.
/// Only the shape is checked: whether mail arrives is shown by mail alone.
pub(super) fn normalised_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (local, domain) = email.rsplit_once('@')?;
    let plain = !email.contains(|c: char| c.is_whitespace() || c.is_control());
    let shaped = !local.is_empty() && !local.contains('@') && !domain.starts_with('.') && !domain.ends_with('.');
    (plain && shaped && !domain.is_empty() && email.len() <= EMAIL_MAX_BYTES).then_some(email)
}

#[cfg(test)]
mod tests {
    use super::normalised_email;

    #[test]
    fn an_address_is_trimmed_and_lowered() {
        assert_eq!(normalised_email(" Ana@Example.ORG ").as_deref(), Some("ana@example.org"));
        assert_eq!(normalised_email("root@localhost").as_deref(), Some("root@localhost"));
    }

    #[test]
    fn what_has_not_the_shape_of_an_address_is_refused() {
        let long = format!("{}@example.org", "a".repeat(250));
        for text in ["", "ana", "@example.org", "ana@", "a b@c.d", "a@b@c.d", "a@.org", "a\0@b.c", long.as_str()] {
            assert_eq!(normalised_email(text), None, "{text:?}");
        }
    }
}
