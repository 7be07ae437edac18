//! What a ticket says about the session that it resumes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::head::{HEAD, Head};
use crate::schedule::{CipherSuite, EarlySecret, HashAlgorithm, midstates_len};
use crate::time::UnixMillis;

/// Bytes of its own that a host can put into a ticket.
pub const HOST_DATA_MAX: usize = 256;

/// Between head and secrets: age_add, max_early_data, authenticated, protocol, server name, address.
const FIELDS: usize = 32;

/// The longest encoding of a state.
pub(super) const STATE_MAX: usize = HEAD + FIELDS + 48 + 128 + HOST_DATA_MAX;

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
    /// Keyed hash of the address to which the ticket was issued.
    pub(crate) address: u64,
    /// Keyed hash of the server name; 0: the session had none.
    pub(crate) server_name: u64,
    /// Keyed hash of the application protocol, [in short](in_short); 0: the session had none.
    pub(crate) alpn: u32,
    /// When the peers last made a full handshake, however many resumptions ago: in the second that
    /// begins then.
    pub authenticated: UnixMillis,
    /// As it is [kept](EarlySecret::to_kept).
    pub(crate) early_secret: &'a [u8],
    pub(crate) binder_midstates: &'a [u8],
    /// The host's own bytes.
    pub host_data: &'a [u8],
}

impl SessionState<'_> {
    /// Bytes behind the head, for a suite with this hash and so many bytes of a host.
    pub(super) const fn parts_len(hash: HashAlgorithm, host_data: usize) -> usize {
        FIELDS + EarlySecret::kept_len(hash) + midstates_len(hash) + host_data
    }

    /// When the ticket expires.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        self.issued
            .saturating_add(Duration::from_secs(self.lifetime.into()))
    }

    /// Writes the state, all but its birth place, and returns its length; `None` if that or the
    /// host's data do not fit.
    pub(super) fn encode(&self, out: &mut [u8]) -> Option<usize> {
        if self.host_data.len() > HOST_DATA_MAX {
            return None;
        }
        let mut fields = [0; FIELDS];
        fields[..4].copy_from_slice(&self.age_add.to_be_bytes());
        fields[4..8].copy_from_slice(&self.max_early_data.to_be_bytes());
        fields[8..12].copy_from_slice(&seconds32(self.authenticated));
        fields[12..16].copy_from_slice(&self.alpn.to_be_bytes());
        fields[16..24].copy_from_slice(&self.server_name.to_be_bytes());
        fields[24..].copy_from_slice(&self.address.to_be_bytes());
        let head = Head {
            kind: self.suite.code().to_be_bytes()[1],
            issued: self.issued,
            lifetime: self.lifetime,
        };
        let parts = [
            &fields,
            self.early_secret,
            self.binder_midstates,
            self.host_data,
        ];
        head.write(&parts, out)
    }
}

impl<'a> SessionState<'a> {
    /// Reads the state behind `head`; `None` as there.
    #[inline]
    pub(super) fn decode(head: &Head, parts: &'a [u8]) -> Option<Self> {
        let (fields, rest) = parts.split_first_chunk::<FIELDS>()?;
        let suite = CipherSuite::from_code(0x1300 | u16::from(head.kind))?;
        let (early_secret, rest) = rest.split_at_checked(EarlySecret::kept_len(suite.hash()))?;
        let (binder_midstates, host_data) = rest.split_at_checked(midstates_len(suite.hash()))?;
        Some(Self {
            suite,
            issued: head.issued,
            lifetime: head.lifetime,
            age_add: u32::from_be_bytes(field(fields, 0)),
            max_early_data: u32::from_be_bytes(field(fields, 4)),
            authenticated: from_seconds32(field(fields, 8)),
            alpn: u32::from_be_bytes(field(fields, 12)),
            server_name: u64::from_be_bytes(field(fields, 16)),
            address: u64::from_be_bytes(field(fields, 24)),
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

/// What a ticket holds of a protocol's hash: 32 bits. 0 for 0 only.
#[inline]
pub(crate) fn in_short(hash: u64) -> u32 {
    match hash {
        0 => 0,
        _ => ((hash >> 32) as u32).max(1),
    }
}

/// A time in seconds, in 4 bytes, which are enough until the year 2106. A later one is taken for
/// that: a session then is taken for older than it is.
fn seconds32(time: UnixMillis) -> [u8; 4] {
    u32::try_from(time.0 / 1000)
        .unwrap_or(u32::MAX)
        .to_be_bytes()
}

#[inline]
fn from_seconds32(seconds: [u8; 4]) -> UnixMillis {
    UnixMillis(u64::from(u32::from_be_bytes(seconds)) * 1000)
}

fn field<const N: usize>(fields: &[u8; FIELDS], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&fields[at..at + N]);
    field
}

#[cfg(all(test, not(dtls_session_loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ticket::Payload;
    use crate::ticket::head::BLOCK;

    fn state(suite: CipherSuite, host_data: &[u8]) -> SessionState<'_> {
        let (early_secret, binder_midstates) = match suite {
            CipherSuite::Aes256GcmSha384 => (&[1; 48][..], &[2; 128][..]),
            _ => (&[1; 64][..], &[2; 64][..]),
        };
        SessionState {
            suite,
            issued: UnixMillis(0x0123_4567_89ab),
            lifetime: 604_800,
            age_add: 0xfedc_ba98,
            max_early_data: u32::MAX,
            address: 3,
            server_name: 4,
            alpn: 5,
            authenticated: UnixMillis(1_790_000_000_999),
            early_secret,
            binder_midstates,
            host_data,
        }
    }

    #[test]
    fn what_was_written_is_read_with_host_data_of_every_length() {
        let all = [7; HOST_DATA_MAX + 1];
        for suite in [CipherSuite::Aes128GcmSha256, CipherSuite::Aes256GcmSha384] {
            for len in 0..=HOST_DATA_MAX {
                let state = state(suite, &all[..len]);
                let mut out = [0xee; STATE_MAX + 1];
                let written = state.encode(&mut out).unwrap();
                assert_eq!(written % BLOCK, 0);
                assert!(written <= STATE_MAX && state.encode(&mut out[..written - 1]).is_none());
                let Some(Payload::Session(read)) = Payload::decode(&out[..written]) else {
                    panic!("{len}");
                };
                assert_eq!((read.suite, read.issued), (state.suite, state.issued));
                assert_eq!(
                    (read.lifetime, read.age_add),
                    (state.lifetime, state.age_add)
                );
                assert_eq!(read.max_early_data, state.max_early_data);
                assert_eq!((read.address, read.server_name, read.alpn), (3, 4, 5));
                assert_eq!(read.authenticated, UnixMillis(1_790_000_000_000));
                assert_eq!(read.early_secret, state.early_secret);
                assert_eq!(read.binder_midstates, state.binder_midstates);
                assert_eq!(read.host_data, state.host_data);
                // Bytes that are missing are missed.
                for shorter in 0..written.min(48 + 128) {
                    assert!(Payload::decode(&out[..shorter]).is_none());
                }
            }
            assert!(state(suite, &all).encode(&mut [0; 1024]).is_none());
        }
    }

    #[test]
    fn what_has_no_room_makes_a_ticket_older_or_none() {
        let mut state = state(CipherSuite::Aes128GcmSha256, b"");
        let mut out = [0; STATE_MAX];
        state.authenticated = UnixMillis(u64::MAX);
        state.issued = UnixMillis(u64::MAX);
        let len = state.encode(&mut out).unwrap();
        let Some(Payload::Session(read)) = Payload::decode(&out[..len]) else {
            panic!();
        };
        assert_eq!(read.authenticated, UnixMillis(u64::from(u32::MAX) * 1000));
        assert_eq!(read.issued, UnixMillis((1 << 48) - 1));
        state.lifetime = 1 << 24;
        assert!(state.encode(&mut out).is_none());
    }

    #[test]
    fn a_hash_in_short_is_0_for_none_only() {
        assert_eq!(in_short(0), 0);
        assert_eq!(in_short(1), 1);
        assert_eq!(in_short(0xabcd_ef01_0000_0000), 0xabcd_ef01);
    }
}
