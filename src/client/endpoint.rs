//! Whom a session belongs to.

use std::net::SocketAddr;

/// A server as a client knows it: the key of its sessions.
///
/// Address, port and server name all count: behind one host, another port or another name may be
/// another service, which must not get tickets that are not its own. A name is compared byte for
/// byte; one that is written in several ways costs a resumption, never a mix-up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where the server is reached.
    pub address: SocketAddr,
    /// The host_name that is sent in server_name (RFC 6066, 3); `None` if none is sent.
    pub server_name: Option<Box<str>>,
}

impl Endpoint {
    /// The server at `address` that is called `server_name`.
    #[must_use]
    pub fn new(address: SocketAddr, server_name: Option<&str>) -> Self {
        Self {
            address,
            server_name: server_name.map(Into::into),
        }
    }
}
