//! Cookies that need no state (RFC 9147, 5.1): all that the server must know when the second
//! ClientHello comes is in the cookie, and the cookie is good for one address.

use std::net::SocketAddr;
use std::time::Duration;

use super::Retried;
use crate::error::Error;
use crate::keys::{KeyId, KeySnapshot};
use crate::schedule::{CipherSuite, Digest, Transcript};
use crate::ticket::mapped;
use crate::time::UnixMillis;
use crate::wire::HelloRetryRequest;

/// Key id, time, suite, group.
const HEAD: usize = 8 + 8 + 2 + 2;
const MAC: usize = 16;
const COOKIE_MAX: usize = HEAD + 48 + MAC;

/// The longest HelloRetryRequest that [`write()`] writes.
const HELLO_RETRY_REQUEST_MAX: usize = 192;

/// Writes the body of a HelloRetryRequest that asks `peer` for a cookie, and for a key share of
/// `group` if there is one.
pub(crate) fn write(
    keys: &KeySnapshot<'_>,
    client_hello: &Digest,
    suite: CipherSuite,
    group: Option<u16>,
    peer: SocketAddr,
    now: UnixMillis,
    out: &mut [u8],
) -> Result<usize, Error> {
    let key = keys.active();
    let mut cookie = [0; COOKIE_MAX];
    let body = HEAD + client_hello.as_bytes().len();
    cookie[..8].copy_from_slice(&key.id().0.to_be_bytes());
    cookie[8..16].copy_from_slice(&now.0.to_be_bytes());
    cookie[16..18].copy_from_slice(&suite.code().to_be_bytes());
    // 0 is no group (RFC 8446, 4.2.7).
    cookie[18..20].copy_from_slice(&group.unwrap_or(0).to_be_bytes());
    cookie[HEAD..body].copy_from_slice(client_hello.as_bytes());
    let mac = (key.cookie_key()).sign(&[&cookie[..body], &address(peer)]);
    cookie[body..body + MAC].copy_from_slice(&mac.as_bytes()[..MAC]);
    hello_retry_request(suite, group, &cookie[..body + MAC]).write(out)
}

/// Checks the cookie of a second ClientHello from `peer`, and returns what came before it.
pub(crate) fn verify<'a>(
    keys: &KeySnapshot<'_>,
    cookie: &'a [u8],
    lifetime: Duration,
    peer: SocketAddr,
    now: UnixMillis,
) -> Option<Retried<'a>> {
    let (body, mac) = cookie.split_at_checked(cookie.len().checked_sub(MAC)?)?;
    let head = body.first_chunk::<HEAD>()?;
    let [id, time] = [field(head, 0), field(head, 8)].map(u64::from_be_bytes);
    let [suite, group] = [field(head, 16), field(head, 18)].map(u16::from_be_bytes);
    let key = keys.find(KeyId(id))?;
    let expected = key.cookie_key().sign(&[body, &address(peer)]);
    let genuine: bool = subtle::ConstantTimeEq::ct_eq(&expected.as_bytes()[..MAC], mac).into();
    // In either direction: the clock may have stepped back, and hosts differ.
    let age = Duration::from_millis(now.0.abs_diff(time));
    if !genuine || age > lifetime {
        return None;
    }
    let suite = CipherSuite::from_code(suite)?;
    let group = (group != 0).then_some(group);
    Some(Retried {
        suite,
        group,
        cookie,
    })
}

impl Retried<'_> {
    /// Begins a transcript with the first ClientHello and the HelloRetryRequest, which is written
    /// again. There is one for every cookie that was [written](write()) here.
    pub(super) fn begin(&self, transcript: &mut Transcript) -> Option<()> {
        let hash = self.suite.hash();
        let client_hello = self.cookie.get(HEAD..self.cookie.len().checked_sub(MAC)?)?;
        let client_hello = Digest::from_bytes(hash, client_hello)?;
        let mut message = [0; HELLO_RETRY_REQUEST_MAX];
        let message_len = hello_retry_request(self.suite, self.group, self.cookie)
            .write(&mut message)
            .ok()?;
        transcript.begin_after(&client_hello, hash, message.get(..message_len)?);
        Some(())
    }
}

fn hello_retry_request(
    suite: CipherSuite,
    group: Option<u16>,
    cookie: &[u8],
) -> HelloRetryRequest<'_> {
    HelloRetryRequest {
        cipher_suite: suite.code(),
        selected_group: group,
        cookie,
    }
}

fn address(peer: SocketAddr) -> [u8; 18] {
    let mut address = [0; 18];
    address[..16].copy_from_slice(&mapped(peer.ip()).octets());
    address[16..].copy_from_slice(&peer.port().to_be_bytes());
    address
}

fn field<const N: usize>(head: &[u8; HEAD], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[at..at + N]);
    field
}
