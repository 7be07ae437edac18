//! Ticket keys in a file: for tickets of before a restart, and for gateways that share keys.

use std::path::Path;

use dtls_session::KeySecret;
use dtls_session::keys::KEY_SECRET_LEN;
use zeroize::Zeroizing;

/// Reads the keys, which are all that is in the file at `path`: the one that seals, and behind it
/// those that open only.
pub(super) fn read(path: &Path) -> Result<(KeySecret, Vec<KeySecret>), String> {
    let of = |why: &dyn std::fmt::Display| format!("ticket-key {}: {why}", path.display());
    let bytes = Zeroizing::new(std::fs::read(path).map_err(|why| of(&why))?);
    match bytes.as_chunks::<KEY_SECRET_LEN>() {
        ([first, others @ ..], []) => Ok((
            KeySecret::new(*first),
            others.iter().map(|other| KeySecret::new(*other)).collect(),
        )),
        _ => Err(of(&format!(
            "not {KEY_SECRET_LEN} random bytes for each key"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_as_many_keys_as_its_length_says() {
        let path = std::env::temp_dir().join(format!("ticket-key-{}", std::process::id()));
        for (len, others) in [
            (0, None),
            (31, None),
            (32, Some(0)),
            (33, None),
            (96, Some(2)),
        ] {
            std::fs::write(&path, vec![7; len]).unwrap();
            let read = read(&path).ok();
            assert_eq!(read.map(|(_, others)| others.len()), others, "{len} bytes");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().contains("ticket-key"));
    }
}
