//! Random bytes, and bytes as text.

use rand::TryRngCore;
use rand::rngs::OsRng;

/// Bytes from the operating system.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("an operating system that runs the server gives random bytes");
    bytes
}

/// Lower-case hexadecimal, two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_with_leading_zeros() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
