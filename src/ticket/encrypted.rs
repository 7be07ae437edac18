//! A ticket as it travels: key id, issuer, nonce, ciphertext, tag.

use std::fmt;
use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use super::head::{BIRTH, BLOCK, HEAD, Head, padded_len};
use super::state::{STATE_MAX, SessionState, mapped};
use crate::error::Error;
use crate::keys::{BirthPlace, Issuer, KeyId, KeySnapshot, NONCE_LEN, NoSerial, Place, TicketKey};
use crate::time::UnixMillis;
use crate::wipe::{overwrite, scrubbed_a_little};

/// Key id, issuer, nonce.
const HEADER: usize = 8 + 8 + NONCE_LEN;
const TAG: usize = 16;

/// The kind of an opaque payload; a native one has the low byte of its suite.
const OPAQUE: u8 = 0xff;

/// The longest payload of an opaque ticket, in bytes.
pub const OPAQUE_MAX: usize = STATE_MAX - HEAD;

/// The longest ticket, in bytes.
pub const TICKET_MAX: usize = HEADER + STATE_MAX + TAG;

/// Bytes of a ticket that holds so many behind its head.
pub(super) const fn ticket_len(parts: usize) -> usize {
    HEADER + padded_len(parts) + TAG
}

/// Where a ticket is opened: its secrets are wiped when the scratch is opened into again or
/// dropped.
pub struct Scratch {
    bytes: [u8; STATE_MAX + TAG],
    used: usize,
}

impl Scratch {
    /// Room for one opened ticket.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; STATE_MAX + TAG],
            used: 0,
        }
    }

    /// What was opened here last.
    #[inline]
    pub(crate) fn plaintext(&self) -> &[u8] {
        &self.bytes[..self.used.saturating_sub(TAG)]
    }

    /// Overwrites what was opened here with what is to be opened, which is whole blocks.
    #[inline]
    fn replace(&mut self, sealed: &[u8]) -> Option<&mut [u8]> {
        if self.used > sealed.len() {
            self.wipe();
        }
        let room = self.bytes.get_mut(..sealed.len())?;
        let (to, from) = (
            room.as_chunks_mut::<BLOCK>().0,
            sealed.as_chunks::<BLOCK>().0,
        );
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
            // Not by `memcpy`, which writes the middle twice: a core stalls where `ring` then
            // reads across what was written last.
            black_box(());
        }
        self.used = room.len();
        Some(room)
    }

    /// Overwrites what was opened here.
    #[inline]
    pub(crate) fn wipe(&mut self) {
        overwrite(&mut self.bytes[..self.used]);
        self.used = 0;
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch(..)")
    }
}

/// A ticket that came from the network: its length is in range, nothing else is known of it.
#[derive(Clone, Copy)]
pub struct EncryptedTicket<'a> {
    header: &'a [u8; HEADER],
    /// Whole blocks of ciphertext, and the tag.
    sealed: &'a [u8],
}

impl fmt::Debug for EncryptedTicket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedTicket")
            .field("key", &self.key_id())
            .finish_non_exhaustive()
    }
}

/// Why a ticket was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenError {
    /// It has not the form of a ticket of this engine.
    Malformed,
    /// No key of this name is here: it was retired, or never known.
    UnknownKey,
    /// It does not authenticate under the key that it names.
    Forged,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a ticket of this engine",
            Self::UnknownKey => "no key of the ticket's name is here",
            Self::Forged => "the ticket does not authenticate",
        })
    }
}

impl std::error::Error for OpenError {}

/// What a ticket holds.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// A session in the engine's own form.
    Session(SessionState<'a>),
    /// Bytes of a host that has its own form.
    Opaque {
        /// The host's bytes.
        bytes: &'a [u8],
        /// When the ticket was issued.
        issued: UnixMillis,
        /// How long after `issued` the ticket may be used, in seconds.
        lifetime: u32,
    },
}

impl<'a> Payload<'a> {
    #[inline(always)]
    pub(crate) fn decode(plaintext: &'a [u8]) -> Option<Self> {
        let (head, rest) = Head::read(plaintext)?;
        if head.kind != OPAQUE {
            return SessionState::decode(&head, rest).map(Self::Session);
        }
        Some(Self::Opaque {
            bytes: rest,
            issued: head.issued,
            lifetime: head.lifetime,
        })
    }

    /// When the ticket expires.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        match self {
            Self::Session(state) => state.expires(),
            Self::Opaque {
                issued, lifetime, ..
            } => issued.saturating_add(Duration::from_secs((*lifetime).into())),
        }
    }
}

impl fmt::Debug for Payload<'_> {
    /// The bytes of a host may be its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(state) => f.debug_tuple("Session").field(state).finish(),
            Self::Opaque {
                bytes,
                issued,
                lifetime,
            } => f
                .debug_struct("Opaque")
                .field("len", &bytes.len())
                .field("issued", issued)
                .field("lifetime", lifetime)
                .finish(),
        }
    }
}

/// A ticket that authenticated: what it holds, and where it was born.
pub struct OpenedTicket<'k, 'b> {
    pub(crate) origin: Origin<'k>,
    plaintext: &'b [u8],
}

/// Where an opened ticket comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'k> {
    /// The key that sealed it.
    pub(crate) key: &'k TicketKey,
    pub(crate) birth: BirthPlace,
    /// Where it is remembered whether it was used, if this process does.
    pub(crate) place: Option<Place<'k>>,
}

impl Origin<'_> {
    /// Fetches what is remembered of the ticket, which may be used soon.
    #[inline]
    pub(crate) fn prefetch(&self) {
        if let Some(place) = self.place {
            place.prefetch();
        }
    }
}

impl fmt::Debug for OpenedTicket<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedTicket")
            .field("key", &self.key_id())
            .field("birth", &self.origin.birth)
            .field("payload", &self.payload())
            .finish()
    }
}

impl<'b> OpenedTicket<'_, 'b> {
    /// What it holds. `None`: it is of another version of this format.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> Option<Payload<'b>> {
        Payload::decode(self.plaintext)
    }

    /// The key that sealed it.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.origin.key.id()
    }

    /// Whether this process issued it. It alone remembers whether the ticket was used, if there was
    /// room for that, or the process that [took over](crate::handover) from it.
    #[must_use]
    pub fn is_home(&self) -> bool {
        self.origin.birth.issuer == self.origin.key.issuer()
    }
}

impl<'a> EncryptedTicket<'a> {
    /// A view of `bytes`, if they have the form of a ticket.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, OpenError> {
        let (header, sealed) = bytes.split_first_chunk().ok_or(OpenError::Malformed)?;
        let well_formed =
            sealed.len() % BLOCK == 0 && (BLOCK + TAG..=STATE_MAX + TAG).contains(&sealed.len());
        if well_formed {
            Ok(Self { header, sealed })
        } else {
            Err(OpenError::Malformed)
        }
    }

    /// The key that it says has sealed it.
    #[must_use]
    #[inline]
    pub fn key_id(&self) -> KeyId {
        KeyId(u64_at(self.header, 0))
    }

    /// The process that it says has issued it.
    #[must_use]
    #[inline]
    pub fn issuer(&self) -> Issuer {
        Issuer(u64_at(self.header, 8))
    }

    /// Authenticates and decrypts the ticket into `scratch`. Says nothing about expiry or use.
    // Always: a core stalls where a caller takes the result out of memory in larger pieces than it
    // was written in.
    #[inline(always)]
    pub fn open<'k, 'b>(
        &self,
        keys: &'k KeySnapshot<'_>,
        scratch: &'b mut Scratch,
    ) -> Result<OpenedTicket<'k, 'b>, OpenError> {
        let origin = self.open_into(keys, scratch)?;
        let plaintext = scratch.plaintext();
        Ok(OpenedTicket { origin, plaintext })
    }

    /// The same; [`Scratch::plaintext`] has what the ticket holds.
    #[inline(always)]
    pub(crate) fn open_into<'k>(
        &self,
        keys: &'k KeySnapshot<'_>,
        scratch: &mut Scratch,
    ) -> Result<Origin<'k>, OpenError> {
        let key = keys.find(self.key_id()).ok_or(OpenError::UnknownKey)?;
        let room = scratch.replace(self.sealed).ok_or(OpenError::Malformed)?;
        let issuer = self.issuer();
        // What fails to authenticate is overwritten by `ring`.
        let opened = key.open(issuer, self.nonce(), room);
        let plaintext = opened.ok_or(OpenError::Forged)?;
        let birth = plaintext.get(BIRTH).and_then(|birth| birth.try_into().ok());
        let birth = BirthPlace::of(issuer, birth.ok_or(OpenError::Malformed)?);
        Ok(Origin {
            key,
            birth,
            place: key.place(&birth),
        })
    }

    #[inline]
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&self.header[HEADER - NONCE_LEN..]);
        nonce
    }
}

/// A serial that was taken for a ticket. Sealing consumes it, so that its nonce is used once.
pub(crate) struct Birth<'k> {
    key: &'k TicketKey,
    lane: u8,
    serial: u32,
}

impl<'k> Birth<'k> {
    /// Takes the next serial of `lane` under the active key for a ticket that expires at `expiry`.
    pub(crate) fn new(
        keys: &'k KeySnapshot<'_>,
        lane: u8,
        expiry: UnixMillis,
    ) -> Result<Self, NoSerial> {
        let serial = keys.take_serial(lane, expiry.0)?;
        Ok(Self {
            key: keys.active(),
            lane,
            serial,
        })
    }

    /// 32 unforeseeable bits for this ticket.
    pub(crate) fn age_add(&self) -> u32 {
        self.key.age_add(self.lane, self.serial)
    }

    /// See [`TicketKey::context`]; 0 if there is none.
    pub(crate) fn context(&self, name: Option<&[u8]>) -> u64 {
        name.map_or(0, |name| self.key.context(name))
    }

    /// See [`TicketKey::address`].
    pub(crate) fn address(&self, address: IpAddr) -> u64 {
        self.key.address(mapped(address))
    }

    /// Makes room for the bit that says whether the ticket was used.
    pub(crate) fn remember(&self) -> bool {
        self.key
            .lane(self.lane)
            .is_some_and(|lane| lane.remember(self.serial))
    }

    /// Writes the ticket of a session and returns its length.
    pub(crate) fn seal(self, state: &SessionState<'_>, out: &mut [u8]) -> Result<usize, Error> {
        let needed = Error::BufferTooSmall { needed: TICKET_MAX };
        let len = out
            .get_mut(HEADER..)
            .and_then(|out| state.encode(out))
            .ok_or(needed)?;
        self.seal_written(len, out)
    }

    fn seal_opaque(
        self,
        bytes: &[u8],
        issued: UnixMillis,
        lifetime: u32,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let head = Head {
            kind: OPAQUE,
            issued,
            lifetime,
        };
        let written = out
            .get_mut(HEADER..)
            .and_then(|out| head.write(&[bytes], out));
        self.seal_written(written.ok_or(Error::Length("ticket"))?, out)
    }

    /// Encrypts the `len` bytes behind the header's place with the birth place among them, and
    /// writes header and tag.
    fn seal_written(self, len: usize, out: &mut [u8]) -> Result<usize, Error> {
        let needed = HEADER + len + TAG;
        let out = out
            .get_mut(..needed)
            .ok_or(Error::BufferTooSmall { needed })?;
        let (header, sealed) = out.split_at_mut(HEADER);
        let (plaintext, tag) = sealed.split_at_mut(len);
        plaintext[BIRTH].copy_from_slice(&BirthPlace::bytes(self.lane, self.serial));
        header[..8].copy_from_slice(&self.key.id().0.to_be_bytes());
        header[8..16].copy_from_slice(&self.key.issuer().0.to_be_bytes());
        let places = header.last_chunk_mut().zip(tag.first_chunk_mut());
        let sealed = places.and_then(|(nonce, tag)| {
            let Self { key, lane, serial } = self;
            key.seal(lane, serial, nonce, plaintext, tag)
        });
        sealed.ok_or(Error::Length("ticket"))?;
        Ok(needed)
    }
}

impl KeySnapshot<'_> {
    /// Seals `bytes` of a host that has its own session format, and returns the length of the
    /// ticket in `out`, at most [`TICKET_MAX`].
    ///
    /// `lifetime` is in seconds. Whether the ticket can be used once for 0-RTT is told by the
    /// `bool`: not, when the bytes for remembering used tickets are spent.
    ///
    /// # Errors
    /// [`Error::Length`] for more than [`OPAQUE_MAX`] bytes, [`Error::Config`] for a lifetime above
    /// [`KeyConfig::ticket_lifetime`](crate::keys::KeyConfig::ticket_lifetime),
    /// [`Error::BufferTooSmall`], [`Error::NoSuchLane`]; [`Error::SerialsExhausted`] when the lane has
    /// no serial left under this key: [rotate](crate::TicketKeyManager::rotate).
    pub fn seal_opaque(
        &self,
        lane: u8,
        bytes: &[u8],
        lifetime: u32,
        now: UnixMillis,
        out: &mut [u8],
    ) -> Result<(usize, bool), Error> {
        if bytes.len() > OPAQUE_MAX {
            return Err(Error::Length("opaque payload"));
        }
        let lifetime_max = self.ticket_lifetime();
        let lifetime = Duration::from_secs(lifetime.into());
        if lifetime > lifetime_max {
            return Err(Error::Config("lifetime of a ticket above ticket_lifetime"));
        }
        // Before a serial is used up.
        let needed = ticket_len(bytes.len());
        let out = out
            .get_mut(..needed)
            .ok_or(Error::BufferTooSmall { needed })?;
        let expiry = now.saturating_add(lifetime);
        let lifetime = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        scrubbed_a_little(|| {
            let birth = Birth::new(self, lane, expiry)?;
            let remembered = birth.remember();
            Ok((birth.seal_opaque(bytes, now, lifetime, out)?, remembered))
        })
    }
}

impl From<NoSerial> for Error {
    fn from(why: NoSerial) -> Self {
        match why {
            NoSerial::NoSuchLane { lane, lanes } => Self::NoSuchLane { lane, lanes },
            NoSerial::Exhausted => Self::SerialsExhausted,
        }
    }
}

#[inline]
fn u64_at(header: &[u8; HEADER], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    u64::from_be_bytes(bytes)
}
