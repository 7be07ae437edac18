//! Registers in a file, which can be taken over once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::{HandoverError, IDENTITY_LEN, hand_over, take_over};
use crate::engine::Engine;
use crate::schedule::{Hash, HashAlgorithm};
use crate::time::UnixMillis;

/// Hands the registers of `engine` over to a new file at `path`, whole and on disk, or not at
/// all. To be called when the workers have stopped: what they accept later is not in it, and
/// cannot be, since [`hand_over`] has taken their registers away.
pub fn hand_over_to_file(
    engine: &Engine,
    path: &Path,
    now: UnixMillis,
) -> Result<(), HandoverError> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = write(engine, file, now);
    if written.is_err() {
        // Half a file would be in the way of the next one.
        let _ = fs::remove_file(path);
    }
    written?;
    sync_directory(path)?;
    Ok(())
}

fn write(engine: &Engine, mut file: File, now: UnixMillis) -> Result<(), HandoverError> {
    let registers = hand_over(engine, &identity(&file)?, now)?;
    file.write_all(&registers)?;
    file.sync_all()?;
    Ok(())
}

/// Takes registers over from the file at `path`, which is gone afterwards, whether or not they
/// could be used: of several starts, one at most gets them. A copy of the file is refused, since
/// its identity is another, and so is a file that has a second name.
pub fn take_over_from_file(
    engine: &Engine,
    path: &Path,
    max_age: Duration,
    now: UnixMillis,
) -> Result<usize, HandoverError> {
    let claimed = claim(path)?;
    let mut file = File::open(&claimed)?;
    let mut registers = Vec::new();
    let identity = identity(&file)?;
    // Gone, on disk too, before anything of it is used.
    fs::remove_file(&claimed)?;
    sync_directory(path)?;
    file.read_to_end(&mut registers)?;
    take_over(engine, &registers, &identity, max_age, now)
}

/// Renames the file to a name of this process's own: of several that try, one succeeds.
fn claim(path: &Path) -> Result<PathBuf, HandoverError> {
    let mut claimed = path.as_os_str().to_owned();
    claimed.push(format!(".taken-by-{}", std::process::id()));
    let claimed = PathBuf::from(claimed);
    match fs::rename(path, &claimed) {
        Ok(()) => Ok(claimed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(HandoverError::Missing),
        Err(error) => Err(error.into()),
    }
}

/// What a copy of the file does not have in common with it: device, inode and time of birth.
fn identity(file: &File) -> Result<[u8; IDENTITY_LEN], HandoverError> {
    let metadata = file.metadata()?;
    let mut hash = Hash::new(HashAlgorithm::Sha256);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if metadata.nlink() > 1 {
            return Err(HandoverError::Copied);
        }
        hash.update(&metadata.dev().to_be_bytes());
        hash.update(&metadata.ino().to_be_bytes());
    }
    // Without a time of birth an inode could be used again: no 0-RTT rather than a doubtful one.
    let born = metadata
        .created()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    hash.update(&born.as_nanos().to_be_bytes());
    let mut identity = [0; IDENTITY_LEN];
    identity.copy_from_slice(hash.finish().as_bytes());
    Ok(identity)
}

/// A name that was made or removed must not come back after a power cut.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

impl From<io::Error> for HandoverError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}
