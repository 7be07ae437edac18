//! Warm restart: what a process remembers of used tickets, handed over to the next one, so that
//! 0-RTT goes on. Single use only.
//!
//! The bits are taken out of the process that hands them over: from then on it accepts none of
//! these tickets. The process that takes them over does it once. Whatever goes wrong on the way costs
//! the 0-RTT of these tickets, and nothing else.
//!
//! Registers belong to ticket keys, and drawn keys end with their process: hand over where keys are
//! [given](crate::Builder::ticket_key) and [imported](crate::TicketKeyManager::import).

mod file;

use std::fmt;
use std::time::Duration;

pub use file::{hand_over_to_file, take_over_from_file};
use zeroize::Zeroizing;

use crate::engine::Engine;
use crate::keys::{Adopted, AdoptedLane, HandedOver, Issuer, KeyId, TicketKey};
use crate::replay::ReplayProtection;
use crate::time::{UnixMillis, millis};
use crate::wipe::scrubbed;

/// "DSHO", and the version of the form.
const MAGIC: [u8; 8] = *b"DSHO\0\0\0\x01";
/// Magic, time, identity, number of keys.
const HEAD: usize = 8 + 8 + IDENTITY_LEN + 4;
const MAC: usize = 32;

/// Bytes that tell one carrier of the registers from all copies of it.
pub const IDENTITY_LEN: usize = 32;

/// Why registers were not handed over or not taken over. The 0-RTT of the tickets concerned is
/// lost; sessions still resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandoverError {
    /// Only [`ReplayProtection::SingleUseTickets`] has registers.
    NotSingleUse,
    /// It does not begin as registers do, or is of another version.
    UnknownFormat,
    /// It ends too early, or goes on too long.
    Torn,
    /// It does not authenticate under the ticket key that it names.
    Forged,
    /// It was written longer ago than allowed, or in the future.
    Old,
    /// The carrier is not the one that it was written to.
    Copied,
    /// This engine has taken over registers before.
    AlreadyTaken,
    /// There are no registers here: never written, or taken over by another start.
    Missing,
    /// None of its ticket keys is here.
    NoKeyInCommon,
    /// They are larger than the engine's budget for registers.
    TooLarge,
    /// Reading or writing failed.
    Io(std::io::ErrorKind),
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSingleUse => f.write_str("only single-use tickets have registers"),
            Self::UnknownFormat => f.write_str("not registers of this version"),
            Self::Torn => f.write_str("the registers are torn"),
            Self::Forged => f.write_str("the registers do not authenticate"),
            Self::Old => f.write_str("the registers are too old"),
            Self::Copied => f.write_str("the registers are a copy"),
            Self::AlreadyTaken => f.write_str("registers were taken over before"),
            Self::Missing => f.write_str("there are no registers, or they were taken over"),
            Self::NoKeyInCommon => f.write_str("the registers are of other ticket keys"),
            Self::TooLarge => f.write_str("the registers exceed the budget"),
            Self::Io(kind) => write!(f, "reading or writing registers: {kind}"),
        }
    }
}

impl std::error::Error for HandoverError {}

/// Takes the registers of all keys out of `engine`, bound to a carrier: no ticket issued so far
/// gets 0-RTT here any more, whether or not the registers arrive anywhere.
///
/// `identity` must be different for every copy of the carrier; [`hand_over_to_file`] knows one
/// for files.
///
/// It is as long as the [bytes in use](crate::TicketKeyManager::register_bytes) for the bits of
/// used tickets, and a little more for each lane. While it is written it takes twice that at most,
/// beside the bits themselves, all of whose pages it touches.
///
/// # Errors
/// [`HandoverError::NotSingleUse`].
pub fn hand_over(
    engine: &Engine,
    identity: &[u8; IDENTITY_LEN],
    now: UnixMillis,
) -> Result<Vec<u8>, HandoverError> {
    if engine.replay().protection() != ReplayProtection::SingleUseTickets {
        return Err(HandoverError::NotSingleUse);
    }
    let keys = engine.keys().all();
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend(now.0.to_be_bytes());
    out.extend(identity);
    out.extend(count(keys.len()));
    for (index, key) in keys.iter().enumerate() {
        let issuers = key.hand_over();
        let section_len = 8 + issuers_len(&issuers);
        out.reserve_exact(8 + section_len + MAC);
        out.extend((section_len as u64).to_be_bytes());
        let start = out.len();
        out.extend(key.id().0.to_be_bytes());
        write_issuers(&issuers, &mut out);
        let mac = section_mac(key, &out[..HEAD], index, &out[start..]);
        out.extend(*mac);
    }
    Ok(out)
}

/// Takes over what [`hand_over`] gave: tickets of the earlier process get 0-RTT here, if they
/// were not used there. Returns how many keys' registers were taken over.
///
/// Import all keys first: an engine takes over once only, and the registers of keys that are not
/// here are lost. Within a process, no other engine may take over the same registers.
///
/// All or nothing is authenticated before anything is taken. `max_age` bounds the time since the
/// registers were written: the shorter, the less a restored image of a whole machine can do.
///
/// While it reads it takes as much memory again as `registers`, beside the bits that they become.
///
/// # Errors
/// Any [`HandoverError`] but [`Missing`](HandoverError::Missing) and [`Io`](HandoverError::Io).
pub fn take_over(
    engine: &Engine,
    registers: &[u8],
    identity: &[u8; IDENTITY_LEN],
    max_age: Duration,
    now: UnixMillis,
) -> Result<usize, HandoverError> {
    if engine.replay().protection() != ReplayProtection::SingleUseTickets {
        return Err(HandoverError::NotSingleUse);
    }
    let head = registers.get(..HEAD).ok_or(HandoverError::Torn)?;
    let mut reader = Reader(registers);
    if reader.array()? != MAGIC {
        return Err(HandoverError::UnknownFormat);
    }
    let written = u64::from_be_bytes(reader.array()?);
    let carrier: [u8; IDENTITY_LEN] = reader.array()?;
    let keys = engine.keys().all();
    let mut taken = Vec::new();
    for index in 0..reader.count()? {
        let len = usize::try_from(reader.u64()?).map_err(|_| HandoverError::Torn)?;
        let section = reader.take(len)?;
        let mac: [u8; MAC] = reader.array()?;
        let mut reader = Reader(section);
        let id = KeyId(reader.u64()?);
        let Some(key) = keys.iter().find(|key| key.id() == id) else {
            continue;
        };
        let expected = section_mac(key, head, index, section);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&expected[..], &mac[..])) {
            return Err(HandoverError::Forged);
        }
        taken.push((key, read_issuers(&mut reader)?));
    }
    if !reader.0.is_empty() {
        return Err(HandoverError::Torn);
    }
    // The head counts only now that it is authenticated, by any of the sections.
    if taken.is_empty() {
        return Err(HandoverError::NoKeyInCommon);
    }
    if carrier != *identity {
        return Err(HandoverError::Copied);
    }
    if now
        .0
        .checked_sub(written)
        .is_none_or(|age| age > millis(max_age))
    {
        return Err(HandoverError::Old);
    }
    let mut adopted = Vec::new();
    for (key, issuers) in taken {
        adopted.push((key, adopt(engine, issuers)?));
    }
    // Not for each key: one that was retired and imported again would remember nothing of it.
    if !engine.begin_take_over() {
        return Err(HandoverError::AlreadyTaken);
    }
    let keys = adopted.len();
    for (key, earlier) in adopted {
        key.adopt(earlier);
    }
    Ok(keys)
}

fn adopt(
    engine: &Engine,
    issuers: Vec<(Issuer, Vec<HandedOver>)>,
) -> Result<Vec<Adopted>, HandoverError> {
    let budget = engine.keys().budget();
    let adopt = |(issuer, lanes): (Issuer, Vec<HandedOver>)| {
        let lanes: Option<_> = lanes
            .iter()
            .map(|bits| AdoptedLane::new(bits, budget))
            .collect();
        Some(Adopted {
            issuer,
            lanes: lanes?,
        })
    };
    let adopted: Option<_> = issuers.into_iter().map(adopt).collect();
    adopted.ok_or(HandoverError::TooLarge)
}

/// Over the head, the section's place and the section, so that none can be swapped or left out.
fn section_mac(key: &TicketKey, head: &[u8], index: usize, section: &[u8]) -> Zeroizing<[u8; MAC]> {
    let mut mac = Zeroizing::new([0; MAC]);
    scrubbed(|| {
        let signed = key.handover_key().sign(&[head, &count(index), section]);
        mac.copy_from_slice(signed.as_bytes());
    });
    mac
}

/// Bytes that [`write_issuers`] writes: memory is asked for once, since it can be much.
fn issuers_len(issuers: &[(Issuer, Vec<HandedOver>)]) -> usize {
    let chunk = |(_, words): &(usize, Vec<u64>)| 4 + 4 + 8 * words.len();
    let lane = |lane: &HandedOver| 8 + 4 + lane.chunks.iter().map(chunk).sum::<usize>();
    let issuer = |(_, lanes): &(_, Vec<_>)| 8 + 4 + lanes.iter().map(lane).sum::<usize>();
    4 + issuers.iter().map(issuer).sum::<usize>()
}

fn write_issuers(issuers: &[(Issuer, Vec<HandedOver>)], out: &mut Vec<u8>) {
    out.extend(count(issuers.len()));
    for (issuer, lanes) in issuers {
        out.extend(issuer.0.to_be_bytes());
        out.extend(count(lanes.len()));
        for lane in lanes {
            out.extend(lane.issued.to_be_bytes());
            out.extend(count(lane.chunks.len()));
            for (index, words) in &lane.chunks {
                out.extend(count(*index));
                out.extend(count(words.len()));
                out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            }
        }
    }
}

fn read_issuers(reader: &mut Reader<'_>) -> Result<Vec<(Issuer, Vec<HandedOver>)>, HandoverError> {
    let mut issuers = Vec::new();
    for _ in 0..reader.count()? {
        let issuer = Issuer(reader.u64()?);
        let mut lanes = Vec::new();
        for _ in 0..reader.count()? {
            let issued = reader.u64()?;
            let mut chunks = Vec::new();
            for _ in 0..reader.count()? {
                let index = reader.count()?;
                let bytes = reader.count()?.checked_mul(8).ok_or(HandoverError::Torn)?;
                let (words, _) = reader.take(bytes)?.as_chunks();
                chunks.push((
                    index,
                    words.iter().map(|word| u64::from_be_bytes(*word)).collect(),
                ));
            }
            lanes.push(HandedOver { issued, chunks });
        }
        issuers.push((issuer, lanes));
    }
    if reader.0.is_empty() {
        Ok(issuers)
    } else {
        Err(HandoverError::Torn)
    }
}

fn count(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], HandoverError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(HandoverError::Torn)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HandoverError> {
        self.take(N)?.try_into().map_err(|_| HandoverError::Torn)
    }

    fn u64(&mut self) -> Result<u64, HandoverError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn count(&mut self) -> Result<usize, HandoverError> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| HandoverError::Torn)
    }
}
