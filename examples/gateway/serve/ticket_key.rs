//! A ticket key in a file: for tickets of before a restart, and for gateways that share a key.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use dtls_session::KeySecret;
use dtls_session::keys::KEY_SECRET_LEN;
use zeroize::Zeroizing;

/// Reads the key, which is all that is in the file at `path`.
pub(super) fn read(path: &Path) -> Result<KeySecret, String> {
    let of = |why: &dyn std::fmt::Display| format!("ticket-key {}: {why}", path.display());
    let mut file = File::open(path).map_err(|why| of(&why))?;
    let mut secret = Zeroizing::new([0; KEY_SECRET_LEN]);
    let whole = file.read_exact(&mut *secret);
    let is_longer = whole.is_ok() && file.read(&mut [0]).map_err(|why| of(&why))? > 0;
    if whole.is_err() || is_longer {
        return Err(of(&format!("not {KEY_SECRET_LEN} random bytes")));
    }
    Ok(KeySecret::new(*secret))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_key_if_it_is_as_long_as_one() {
        let path = std::env::temp_dir().join(format!("ticket-key-{}", std::process::id()));
        for (len, is_key) in [(0, false), (31, false), (32, true), (33, false)] {
            std::fs::write(&path, vec![7; len]).unwrap();
            assert_eq!(read(&path).is_ok(), is_key, "{len} bytes");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().contains("ticket-key"));
    }
}
