//! Registers in a file, which can be taken over once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::{HandoverError, IDENTITY_LEN, hand_over, take_over};
use crate::engine::Engine;
use crate::schedule::{Hash, HashAlgorithm};
use crate::time::UnixMillis;

/// Hands the registers of `engine` over to a new file at `path`: whole and on disk, or not at
/// all, and not there before it is whole. To be called when the workers have stopped: what they
/// accept later is not in it, and cannot be, since [`hand_over`] has taken their registers away.
///
/// # Errors
/// [`HandoverError::NotSingleUse`]; [`HandoverError::Io`], also where there is a file already.
pub fn hand_over_to_file(
    engine: &Engine,
    path: &Path,
    now: UnixMillis,
) -> Result<(), HandoverError> {
    if path.try_exists()? {
        return Err(HandoverError::Io(io::ErrorKind::AlreadyExists));
    }
    let unfinished = beside(path, "written-by");
    // What an earlier process of this number may have left behind.
    let _ = fs::remove_file(&unfinished);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&unfinished)?;
    let published = write(engine, file, now)
        .and_then(|()| fs::rename(&unfinished, path).map_err(HandoverError::from));
    if published.is_err() {
        let _ = fs::remove_file(&unfinished);
        return published;
    }
    let on_disk = sync_directory(path);
    if on_disk.is_err() {
        let _ = fs::remove_file(path);
    }
    Ok(on_disk?)
}

fn write(engine: &Engine, mut file: File, now: UnixMillis) -> Result<(), HandoverError> {
    let registers = hand_over(engine, &identity(&file)?, now)?;
    file.write_all(&registers)?;
    file.sync_all()?;
    Ok(())
}

/// Takes registers over from the file at `path`, which is gone afterwards, whether or not they
/// could be used: of several starts, one at most gets them. A copy of the file is refused, since
/// its identity is another, and so is a file that has a second name, or a link to it. On Unix only:
/// elsewhere it is lost.
///
/// # Errors
/// Those of [`take_over`]; [`HandoverError::Missing`] and [`HandoverError::Io`].
pub fn take_over_from_file(
    engine: &Engine,
    path: &Path,
    max_age: Duration,
    now: UnixMillis,
) -> Result<usize, HandoverError> {
    let claimed = claim(path)?;
    let opened = File::open(&claimed).and_then(|file| Ok((has_one_name(&file, &claimed)?, file)));
    // Gone, on disk too, before anything of it is used.
    fs::remove_file(&claimed)?;
    sync_directory(path)?;
    // Asked before and after: of two starts that come by two names, each finds no name left when both
    // have removed theirs.
    let (had_one_name, mut file) = opened?;
    if !had_one_name || !has_no_name(&file)? {
        return Err(HandoverError::Copied);
    }
    let identity = identity(&file)?;
    let mut registers = Vec::new();
    file.read_to_end(&mut registers)?;
    take_over(engine, &registers, &identity, max_age, now)
}

/// Renames the file to a name of this process's own: of several that try, one succeeds.
fn claim(path: &Path) -> Result<PathBuf, HandoverError> {
    let claimed = beside(path, "taken-by");
    match fs::rename(path, &claimed) {
        Ok(()) => Ok(claimed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(HandoverError::Missing),
        Err(error) => Err(error.into()),
    }
}

/// A name of this process's own, in the same directory.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{what}-{}", std::process::id()));
    name.into()
}

/// Whether this is the only name of the file, and not a link to it.
#[cfg(unix)]
fn has_one_name(file: &File, name: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (file, name) = (file.metadata()?, fs::symlink_metadata(name)?);
    let is_its_own = (file.dev(), file.ino()) == (name.dev(), name.ino());
    Ok(is_its_own && file.nlink() == 1)
}

/// Whether nobody else can open the file any more.
#[cfg(unix)]
fn has_no_name(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() == 0)
}

/// Elsewhere nobody says how many names there are: no 0-RTT rather than a doubtful one.
#[cfg(not(unix))]
fn has_one_name(_: &File, _: &Path) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

/// As above.
#[cfg(not(unix))]
fn has_no_name(_: &File) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What a copy of the file does not have in common with it: device, inode and time of birth.
fn identity(file: &File) -> Result<[u8; IDENTITY_LEN], HandoverError> {
    let metadata = file.metadata()?;
    let mut hash = Hash::new(HashAlgorithm::Sha256);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
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
