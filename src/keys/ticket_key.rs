//! One ticket key, everything derived from it, and what is remembered about its tickets.

use std::fmt;
use std::hash::Hasher;
use std::net::Ipv6Addr;

use crossbeam_utils::CachePadded;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use siphasher::sip::SipHasher24;
use zeroize::{Zeroize, Zeroizing};

use super::lane::{AdoptedLane, Budget, HandedOver, Lane, Place};
use crate::error::Error;
use crate::random::SecureRandom;
use crate::schedule::{HashAlgorithm, HmacKey, hkdf};
use crate::sync::{Arc, AtomicBool, AtomicUsize, OnceBox, Ordering};
use crate::wipe::{Wiped, scrubbed};

/// Bytes of the secret from which everything of a ticket key is derived.
pub const KEY_SECRET_LEN: usize = 32;

/// Other issuers whose subkeys a key keeps ready. Further ones are derived for every ticket.
#[cfg(not(dtls_session_loom))]
const FOREIGN_ISSUERS: usize = 64;
#[cfg(dtls_session_loom)]
const FOREIGN_ISSUERS: usize = 1;

/// Places where the subkey of one issuer may lie.
const FOREIGN_PROBES: usize = 4;

/// The secret of a ticket key. Hosts that share it open each other's tickets.
///
/// On the heap, so that moving it leaves no copy behind.
#[derive(Clone)]
pub struct KeySecret(Box<Zeroizing<[u8; KEY_SECRET_LEN]>>);

impl KeySecret {
    /// Takes over a secret of 32 bytes drawn by a cryptographic random source.
    #[must_use]
    pub fn new(mut bytes: [u8; KEY_SECRET_LEN]) -> Self {
        let mut secret = Self::zero();
        secret.0.copy_from_slice(&bytes);
        bytes.zeroize();
        secret
    }

    /// The public name of the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(u64::from_be_bytes(*expand::<8>(self, b"key id")))
    }

    pub(crate) fn draw(random: &dyn SecureRandom) -> Result<Self, Error> {
        let mut secret = Self::zero();
        random.fill(&mut **secret.0)?;
        Ok(secret)
    }

    fn zero() -> Self {
        Self(Box::new(Zeroizing::new([0; KEY_SECRET_LEN])))
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(..)")
    }
}

/// The public name of a ticket key, derived from its secret: the key epoch of a ticket. Every ticket
/// begins with its 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(crate) u64);

impl KeyId {
    /// As tickets begin.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for KeyId {
    /// Its bytes in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// 64 random bits drawn whenever a process takes a key up: one process, one issuer for each key. A
/// key that was retired and comes back has another, so that its nonces begin anew.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Issuer(pub(crate) u64);

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({:016x})", self.0)
    }
}

/// 8 bits of lane and 32 of serial.
pub(crate) const BIRTH_LEN: usize = 5;

/// Bytes of a ticket's nonce.
pub(crate) const NONCE_LEN: usize = 12;

/// Who issued a ticket, on which lane, as which serial: unique under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BirthPlace {
    pub(crate) issuer: Issuer,
    /// Lane and serial, in one word: a core stalls where it copies as a whole what it has just
    /// written in pieces.
    bits: u64,
}

impl BirthPlace {
    /// Lane and serial in 40 bits.
    #[inline]
    const fn bits(lane: u8, serial: u32) -> u64 {
        (lane as u64) << 32 | serial as u64
    }

    /// Lane and serial, as a ticket holds them.
    #[inline]
    pub(crate) const fn bytes(lane: u8, serial: u32) -> [u8; BIRTH_LEN] {
        let [_, _, _, bytes @ ..] = Self::bits(lane, serial).to_be_bytes();
        bytes
    }

    /// The place with these [`bytes`](Self::bytes), of a ticket of `issuer`.
    #[inline]
    pub(crate) const fn of(issuer: Issuer, [a, b, c, d, e]: [u8; BIRTH_LEN]) -> Self {
        Self {
            issuer,
            bits: u64::from_be_bytes([0, 0, 0, a, b, c, d, e]),
        }
    }

    #[inline]
    pub(crate) const fn lane(&self) -> u8 {
        (self.bits >> 32) as u8
    }

    #[inline]
    pub(crate) const fn serial(&self) -> u32 {
        self.bits as u32
    }
}

pub(crate) struct TicketKey {
    id: KeyId,
    issuer: Issuer,
    home: Wiped<LessSafeKey>,
    births: Zeroizing<[u8; 16]>,
    derivation: HmacKey,
    foreign: [OnceBox<ForeignKey>; FOREIGN_ISSUERS],
    context: Zeroizing<[u8; 16]>,
    addresses: Zeroizing<[u128; 2]>,
    cookies: HmacKey,
    handover: HmacKey,
    lanes: Box<[CachePadded<Lane>]>,
    /// What earlier processes remembered of their tickets, if they handed it over.
    adopted: OnceBox<Vec<Adopted>>,
    sealing_ended: AtomicBool,
    /// Last, so that it is dropped when the secrets above are overwritten.
    departure: Departure,
}

/// The lanes of an earlier process.
pub(crate) struct Adopted {
    pub(crate) issuer: Issuer,
    pub(crate) lanes: Vec<AdoptedLane>,
}

struct ForeignKey {
    issuer: Issuer,
    key: Wiped<LessSafeKey>,
}

/// What all keys of one manager have in common.
pub(crate) struct Household {
    pub(crate) lanes: usize,
    pub(crate) serials_per_lane: u64,
    pub(crate) budget: Arc<Budget>,
    /// Retired keys that are not overwritten yet.
    pub(crate) waiting: Arc<AtomicUsize>,
}

impl TicketKey {
    pub(crate) fn new(secret: &KeySecret, issuer: Issuer, household: &Household) -> Arc<Self> {
        scrubbed(|| {
            let derivation = HmacKey::new(
                HashAlgorithm::Sha256,
                &*expand::<32>(secret, b"subkeys of issuers"),
            );
            Arc::new(Self {
                id: secret.id(),
                issuer,
                home: Wiped::new(subkey(&derivation, issuer)),
                births: births_key(&derivation, issuer),
                derivation,
                foreign: std::array::from_fn(|_| OnceBox::new()),
                context: expand::<16>(secret, b"contexts"),
                addresses: addresses_key(secret),
                cookies: HmacKey::new(HashAlgorithm::Sha256, &*expand::<32>(secret, b"cookies")),
                handover: HmacKey::new(
                    HashAlgorithm::Sha256,
                    &*expand::<32>(secret, b"handed over registers"),
                ),
                adopted: OnceBox::new(),
                // Padded: each lane is written by its own core for every ticket that it issues.
                lanes: (0..household.lanes)
                    .map(|_| Lane::new(household.serials_per_lane, &household.budget))
                    .map(CachePadded::new)
                    .collect(),
                sealing_ended: AtomicBool::new(false),
                departure: Departure {
                    retired: AtomicBool::new(false),
                    waiting: Arc::clone(&household.waiting),
                },
            })
        })
    }

    /// The most bytes of a key with so many lanes, but for the bits of used tickets.
    pub(crate) const fn bytes(lanes: usize) -> usize {
        // A lane is padded to a whole number of cache lines.
        let lane = Lane::bytes() + size_of::<CachePadded<u8>>();
        // The counts of an `Arc`.
        2 * size_of::<usize>()
            + size_of::<Self>()
            + lanes * lane
            + FOREIGN_ISSUERS * size_of::<ForeignKey>()
    }

    #[inline]
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// The issuer whose tickets this process remembers: itself.
    #[inline]
    pub(crate) fn issuer(&self) -> Issuer {
        self.issuer
    }

    #[inline]
    pub(crate) fn lane(&self, lane: u8) -> Option<&Lane> {
        self.lanes.get(usize::from(lane)).map(|lane| &**lane)
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().map(|lane| &**lane)
    }

    /// The nonce of the ticket that is born on `lane` as `serial`: no other birth place has the
    /// same, and nobody else can tell which this one has.
    ///
    /// It begins with 7 bytes of a keyed hash of the birth place. Behind them is the birth place
    /// itself, 5 bytes, masked with a keyed hash of those 7: two that begin alike have the same
    /// mask, and so differ there. Of 2^32 tickets some hundred pairs begin alike: an observer
    /// learns in which bits their birth places differ, and no more.
    fn nonce(&self, lane: u8, serial: u32) -> [u8; NONCE_LEN] {
        let place = BirthPlace::bits(lane, serial);
        let begin = self.hash_of_birth::<BIRTH_LEN>(place) >> 8;
        let masked = place ^ (self.hash_of_birth::<7>(begin) >> 24);
        let [_, _, _, _, nonce @ ..] = (u128::from(begin) << 40 | u128::from(masked)).to_be_bytes();
        nonce
    }

    /// 32 bits that nobody can foretell, and that are the same for the same birth place.
    pub(crate) fn age_add(&self, lane: u8, serial: u32) -> u32 {
        (self.hash_of_birth::<{ BIRTH_LEN + 1 }>(BirthPlace::bits(lane, serial)) >> 32) as u32
    }

    /// SipHash-2-4 of the low `LEN` bytes, under a key of this issuer's own: as good as random to all
    /// others. Each purpose has a length of its own, which SipHash takes in; all are less than a block.
    #[inline]
    fn hash_of_birth<const LEN: usize>(&self, bytes: u64) -> u64 {
        let bytes = bytes.to_be_bytes();
        SipHasher24::new_with_key(&self.births).hash(&bytes[8 - LEN..])
    }

    /// A keyed hash of a server name or protocol name, by which a ticket remembers it. Never 0.
    pub(crate) fn context(&self, name: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.context);
        hasher.write(name);
        hasher.finish().max(1)
    }

    /// A keyed hash of an address, by which a ticket remembers it.
    ///
    /// Multilinear (Lemire and Kaser, "Strongly universal string hashing is fast"): whoever does
    /// not know the key has two addresses with the same hash with a probability of 2^-63, as long
    /// as he sees no hash: these are in tickets only. SipHash would take a fiftieth of an admission.
    #[inline]
    pub(crate) fn address(&self, address: Ipv6Addr) -> u64 {
        let bits = address.to_bits();
        let (high, low) = (bits >> 64, bits & u128::from(u64::MAX));
        let [of_high, of_low] = &*self.addresses;
        let sum = (of_high.wrapping_mul(high)).wrapping_add(of_low.wrapping_mul(low));
        (sum >> 64) as u64
    }

    /// The key under which cookies are authenticated.
    pub(crate) fn cookie_key(&self) -> &HmacKey {
        &self.cookies
    }

    /// The key under which registers that are handed over are authenticated.
    pub(crate) fn handover_key(&self) -> &HmacKey {
        &self.handover
    }

    /// Where it is remembered whether the ticket born at `birth` was used, if this process does.
    #[inline]
    pub(crate) fn place(&self, birth: &BirthPlace) -> Option<Place<'_>> {
        if birth.issuer != self.issuer {
            return self.adopted_place(birth);
        }
        self.lane(birth.lane())?.place(birth.serial())
    }

    #[cold]
    fn adopted_place(&self, birth: &BirthPlace) -> Option<Place<'_>> {
        let mut all = self.adopted.get()?.iter();
        let of_issuer = all.find(|adopted| adopted.issuer == birth.issuer)?;
        let lane = of_issuer.lanes.get(usize::from(birth.lane()))?;
        lane.place(birth.serial())
    }

    /// Takes all bits out, those of earlier processes included. No ticket of before gets 0-RTT
    /// here any more. Who issued nothing is left out, or each restart would add to the list.
    pub(crate) fn hand_over(&self) -> Vec<(Issuer, Vec<HandedOver>)> {
        let home = (self.issuer, self.lanes().map(Lane::hand_over).collect());
        let earlier = self.adopted.get().into_iter().flatten().map(|adopted| {
            (
                adopted.issuer,
                adopted.lanes.iter().map(AdoptedLane::hand_over).collect(),
            )
        });
        let has_issued =
            |(_, lanes): &(_, Vec<HandedOver>)| lanes.iter().any(|lane| lane.issued > 0);
        let all = std::iter::once(home).chain(earlier);
        all.filter(has_issued).collect()
    }

    /// Remembers for earlier processes from now on. To be called once.
    pub(crate) fn adopt(&self, earlier: Vec<Adopted>) {
        self.adopted.set(Box::new(earlier));
    }

    /// Encrypts in place, and writes nonce and tag. The caller took `serial` from `lane` of this key.
    // To where they stay: a core stalls where it copies what was just written in other pieces.
    #[inline]
    pub(crate) fn seal(
        &self,
        lane: u8,
        serial: u32,
        nonce: &mut [u8; NONCE_LEN],
        plaintext: &mut [u8],
        tag: &mut [u8; 16],
    ) -> Option<()> {
        *nonce = self.nonce(lane, serial);
        let unique = Nonce::assume_unique_for_key(*nonce);
        let sealed = (self.home).seal_in_place_separate_tag(unique, Aad::empty(), plaintext);
        tag.copy_from_slice(sealed.ok()?.as_ref());
        Some(())
    }

    /// Decrypts ciphertext and tag in place, if `issuer` sealed them under this nonce.
    #[inline]
    pub(crate) fn open<'b>(
        &self,
        issuer: Issuer,
        nonce: [u8; NONCE_LEN],
        sealed: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        if issuer == self.issuer {
            return self.home.open_in_place(nonce, Aad::empty(), sealed).ok();
        }
        self.open_foreign(issuer, nonce, sealed)
    }

    /// The subkey of another issuer is kept only after a ticket authenticated under it, and never
    /// evicted: forged issuers cost one derivation and leave nothing behind.
    #[cold]
    fn open_foreign<'b>(
        &self,
        issuer: Issuer,
        nonce: Nonce,
        sealed: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        let home = usize::try_from(issuer.0 % FOREIGN_ISSUERS as u64).unwrap_or(0);
        let probes = (home..home + FOREIGN_PROBES).map(|n| &self.foreign[n % FOREIGN_ISSUERS]);
        let mut empty = None;
        for place in probes {
            match place.get() {
                Some(kept) if kept.issuer == issuer => {
                    return kept.key.open_in_place(nonce, Aad::empty(), sealed).ok();
                }
                Some(_) => {}
                None => {
                    empty = Some(place);
                    break;
                }
            }
        }
        scrubbed(|| {
            let key = Wiped::new(subkey(&self.derivation, issuer));
            let opened = key.open_in_place(nonce, Aad::empty(), sealed).ok()?;
            if let Some(place) = empty {
                place.set(Box::new(ForeignKey { issuer, key }));
            }
            Some(opened)
        })
    }

    /// From now on nobody seals with this key: every reader that could has left.
    pub(crate) fn end_sealing(&self) {
        // Release: what the sealing workers wrote before they left is seen by whoever sees this.
        self.sealing_ended.store(true, Ordering::Release);
    }

    /// When the last ticket or cookie that this process made with the key expires (ms), once that is
    /// final.
    pub(crate) fn last_expiry(&self) -> Option<u64> {
        // Acquire: pairs with `end_sealing`.
        let ended = self.sealing_ended.load(Ordering::Acquire);
        ended.then(|| self.lanes().map(Lane::last_expiry).max().unwrap_or(0))
    }

    /// The key has left the array, and waits for its last reader.
    pub(crate) fn retire(&self) {
        self.departure.begin();
    }
}

/// Counts a retired key as waiting until it is gone.
struct Departure {
    retired: AtomicBool,
    waiting: Arc<AtomicUsize>,
}

impl Departure {
    fn begin(&self) {
        // Relaxed, here and in the drop: `retired` is read again when no other thread is left.
        if !self.retired.swap(true, Ordering::Relaxed) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Relaxed) {
            // Release: who sees that nobody waits sees that the secrets are overwritten.
            self.waiting.fetch_sub(1, Ordering::Release);
        }
    }
}

fn subkey(derivation: &HmacKey, issuer: Issuer) -> LessSafeKey {
    let bytes = derivation.sign(&[&issuer.0.to_be_bytes()]);
    aead_key(bytes.as_bytes())
}

#[allow(clippy::expect_used)] // the length is right by construction
fn aead_key(bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes"))
}

/// The key of an issuer's nonces and of what else follows from birth places.
fn births_key(derivation: &HmacKey, issuer: Issuer) -> Zeroizing<[u8; 16]> {
    let bytes = derivation.sign(&[&issuer.0.to_be_bytes(), b"births"]);
    let mut key = Zeroizing::new([0; 16]);
    key.copy_from_slice(&bytes.as_bytes()[..16]);
    key
}

/// The key of the hashes of addresses.
fn addresses_key(secret: &KeySecret) -> Zeroizing<[u128; 2]> {
    let bytes = expand::<32>(secret, b"addresses");
    let mut key = Zeroizing::new([0; 2]);
    for (word, bytes) in key.iter_mut().zip(bytes.as_chunks().0) {
        *word = u128::from_le_bytes(*bytes);
    }
    key
}

/// HKDF-Expand of the key's secret, which is uniformly random, for one purpose.
///
/// The version is that of what tickets look like: hosts of another one derive other keys from the
/// same secret, and to them a ticket is one of an unknown key.
fn expand<const N: usize>(secret: &KeySecret, purpose: &[u8]) -> Zeroizing<[u8; N]> {
    let mut info = [0; 64];
    let prefix = b"dtls-session v2 ";
    let len = prefix.len() + purpose.len();
    info[..prefix.len()].copy_from_slice(prefix);
    info[prefix.len()..len].copy_from_slice(purpose);
    let mut out = Zeroizing::new([0; N]);
    let expanded = hkdf::expand(HashAlgorithm::Sha256, &**secret.0, &info[..len], &mut *out);
    debug_assert!(expanded.is_ok(), "at most one block is asked for");
    out
}

#[cfg(all(test, not(dtls_session_loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    use proptest::prelude::*;

    fn key() -> Arc<TicketKey> {
        let household = Household {
            lanes: 1,
            serials_per_lane: 1,
            budget: Budget::new(0),
            waiting: Arc::new(AtomicUsize::new(0)),
        };
        TicketKey::new(&KeySecret::new([7; 32]), Issuer(3), &household)
    }

    #[test]
    fn the_hash_of_an_address_depends_on_each_of_its_bits_and_on_the_key() {
        let key = key();
        let mut hashes = HashSet::new();
        for address in [0, 0xffff_c000_0201, u128::MAX] {
            hashes.insert(key.address(Ipv6Addr::from_bits(address)));
            hashes.extend((0..128).map(|bit| key.address(Ipv6Addr::from_bits(address ^ 1 << bit))));
        }
        assert_eq!(hashes.len(), 3 * 129);
        // Other hosts with the same key come to the same, whatever their bytes' order.
        let bytes = expand::<32>(&KeySecret::new([7; 32]), b"addresses");
        let product = u128::from_le_bytes(*bytes.last_chunk().unwrap()).wrapping_mul(3);
        assert_eq!(key.address(Ipv6Addr::from_bits(3)), (product >> 64) as u64);
    }

    /// A nonce is for everybody to see, and what a client adds to its ticket's age is not.
    #[test]
    fn a_nonce_does_not_tell_the_age_add() {
        let key = key();
        for serial in 0..100 {
            let (nonce, age_add) = (key.nonce(0, serial), key.age_add(0, serial).to_be_bytes());
            assert!(nonce.windows(4).all(|part| part != age_add), "{serial}");
        }
    }

    proptest! {
        /// So that no two birth places have the same nonce, whatever the hashes are.
        #[test]
        fn trap_16_who_has_the_key_can_tell_the_birth_place_from_the_nonce(
            lane in any::<u8>(), serial in any::<u32>(),
        ) {
            let key = key();
            let nonce = key.nonce(lane, serial);
            let (begin, masked) = nonce.split_first_chunk::<7>().unwrap();
            let [a, b, c, d, e, f, g] = *begin;
            let mask = key.hash_of_birth::<7>(u64::from_be_bytes([0, a, b, c, d, e, f, g]));
            let mask = mask.to_be_bytes();
            let place: Vec<u8> = masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
            prop_assert_eq!(&place, &BirthPlace::bytes(lane, serial));
            prop_assert_eq!(
                BirthPlace::of(Issuer(3), BirthPlace::bytes(lane, serial)),
                BirthPlace { issuer: Issuer(3), bits: BirthPlace::bits(lane, serial) },
            );
        }
    }
}
