//! What a ticket says about the session that it resumes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::time::Duration;

use crate::keys::BIRTH_LEN;
use crate::schedule::{CipherSuite, midstates_len};
use crate::time::UnixMillis;

/// Bytes of its own that a host can put into a ticket.
pub const HOST_DATA_MAX: usize = 256;

/// Before the secrets: kind, birth place, length of host data, lifetime, age_add, max_early_data,
/// issued, authenticated, address, server name, protocol.
const HEAD: usize = 64;

/// Where every ticket, opaque ones too, holds its birth place.
pub(super) const BIRTH: Range<usize> = 1..1 + BIRTH_LEN;

/// A whole number of AES blocks, which is what `ring` opens fastest.
const BLOCK: usize = 16;

/// The longest encoding of a state.
pub(super) const STATE_MAX: usize = HEAD + 48 + 128 + HOST_DATA_MAX;

/// A session, as a ticket carries it: everything that a resumption needs, in place of the PSK.
///
/// The secrets and the host's data are borrowed from where the ticket was opened.
#[derive(Clone, Copy)]
pub struct SessionState<'a> {
    /// The suite under which the session was made, and the only one for its early data.
    pub suite: CipherSuite,
    /// When the ticket was issued.
    pub issued: UnixMillis,
    /// How long after `issued` the ticket may be used, in seconds.
    pub lifetime: u32,
    /// What the client adds to the ticket's age, modulo 2^32 (RFC 8446, 4.6.1), in ms.
    pub age_add: u32,
    /// Bytes of early data that the client may send; 0: none.
    pub max_early_data: u32,
    /// The address to which the ticket was issued. IPv4 addresses are mapped.
    pub address: Ipv6Addr,
    /// Keyed hash of the server name; 0: the session had none.
    pub(crate) server_name: u64,
    /// Keyed hash of the application protocol; 0: the session had none.
    pub(crate) alpn: u64,
    /// When the peers last made a full handshake, however many resumptions ago.
    pub authenticated: UnixMillis,
    pub(crate) early_secret: &'a [u8],
    pub(crate) binder_midstates: &'a [u8],
    /// The host's own bytes.
    pub host_data: &'a [u8],
}

impl SessionState<'_> {
    /// When the ticket expires.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        self.issued
            .saturating_add(Duration::from_secs(self.lifetime.into()))
    }

    /// Writes the state, padded to whole blocks, all but its birth place, and returns its length; `None` if `out` or the
    /// host's data do not fit.
    pub(super) fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let secrets = HEAD + self.early_secret.len();
        let host = secrets + self.binder_midstates.len();
        let len = (host + self.host_data.len()).next_multiple_of(BLOCK);
        if self.host_data.len() > HOST_DATA_MAX {
            return None;
        }
        let out = out.get_mut(..len)?;
        out[0] = self.suite.code().to_be_bytes()[1];
        out[6..8].copy_from_slice(&u16::try_from(self.host_data.len()).ok()?.to_be_bytes());
        out[8..12].copy_from_slice(&self.lifetime.to_be_bytes());
        out[12..16].copy_from_slice(&self.age_add.to_be_bytes());
        out[16..20].copy_from_slice(&self.max_early_data.to_be_bytes());
        out[20..26].copy_from_slice(&millis48(self.issued));
        out[26..32].copy_from_slice(&millis48(self.authenticated));
        out[32..48].copy_from_slice(&self.address.octets());
        out[48..56].copy_from_slice(&self.server_name.to_be_bytes());
        out[56..64].copy_from_slice(&self.alpn.to_be_bytes());
        out[HEAD..secrets].copy_from_slice(self.early_secret);
        out[secrets..host].copy_from_slice(self.binder_midstates);
        out[host..host + self.host_data.len()].copy_from_slice(self.host_data);
        out[host + self.host_data.len()..].fill(0);
        Some(len)
    }
}

impl<'a> SessionState<'a> {
    /// Reads a state. `None` can only mean a ticket of another version of this format, since the
    /// bytes have been authenticated.
    #[inline]
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let suite = CipherSuite::from_code(0x1300 | u16::from(head[0]))?;
        let (early_secret, rest) = rest.split_at_checked(suite.hash().output_len())?;
        let (binder_midstates, rest) = rest.split_at_checked(midstates_len(suite.hash()))?;
        let host_data = rest.get(..usize::from(u16::from_be_bytes(field(head, 6))))?;
        Some(Self {
            suite,
            issued: from_millis48(field(head, 20)),
            lifetime: u32::from_be_bytes(field(head, 8)),
            age_add: u32::from_be_bytes(field(head, 12)),
            max_early_data: u32::from_be_bytes(field(head, 16)),
            address: Ipv6Addr::from(field::<16>(head, 32)),
            server_name: u64::from_be_bytes(field(head, 48)),
            alpn: u64::from_be_bytes(field(head, 56)),
            authenticated: from_millis48(field(head, 26)),
            early_secret,
            binder_midstates,
            host_data,
        })
    }
}

impl fmt::Debug for SessionState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionState")
            .field("suite", &self.suite)
            .field("issued", &self.issued)
            .field("lifetime", &self.lifetime)
            .field("max_early_data", &self.max_early_data)
            .field("authenticated", &self.authenticated)
            .finish_non_exhaustive()
    }
}

/// One form for the addresses of both families (RFC 4291, 2.5.5.2).
#[inline]
pub(crate) fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        // Not by bytes: a core stalls where it loads as a whole what it has just stored in pieces.
        IpAddr::V4(v4) => Ipv6Addr::from_bits(0xffff << 32 | u128::from(v4.to_bits())),
        IpAddr::V6(v6) => v6,
    }
}

/// A time in 6 bytes, which are enough until the year 10889. A later one is taken for that: a ticket
/// then has expired when it is issued.
pub(super) fn millis48(time: UnixMillis) -> [u8; 6] {
    let [_, _, millis @ ..] = time.0.min((1 << 48) - 1).to_be_bytes();
    millis
}

#[inline]
pub(super) fn from_millis48([a, b, c, d, e, f]: [u8; 6]) -> UnixMillis {
    UnixMillis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

fn field<const N: usize>(head: &[u8; HEAD], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[at..at + N]);
    field
}
