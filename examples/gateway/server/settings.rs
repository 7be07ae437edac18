//! What an operator can set of the server, and what is fixed.

use std::time::Duration;

use dtls_session::admission::AddressPolicy;
use dtls_session::{Builder, Engine};

use super::certificate::Identity;
use super::key_exchange::Group;

/// The settings that all workers share.
pub struct Settings {
    pub identity: Identity,
    /// By preference.
    pub groups: Vec<Group>,
    /// Whether a PSK may be used without key exchange.
    pub psk_ke: bool,
    /// Application protocols, by preference; none: the extension is ignored.
    pub alpn: Vec<Vec<u8>>,
    /// What a client has to do before it is answered at length.
    pub address_policy: AddressPolicy,
    /// Whether answers to early data go out before the handshake is complete. That saves their
    /// wait for the client's Finished; wolfSSL clients have `connect` say that data is there.
    pub answer_early_data_at_once: bool,
    /// Tickets that a client gets after a handshake.
    pub tickets: u8,
    /// The path MTU, in bytes of UDP payload: at least 256.
    pub mtu: usize,
    /// When a flight is first sent again (RFC 9147, 5.8.2); each time the wait doubles.
    pub retransmit_after: Duration,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long an association lives without an authentic record from its client.
    pub idle_timeout: Duration,
    /// Handshakes under way at one worker beyond which a ticket spares a client the cookie no more,
    /// unless it comes with early data that is accepted.
    pub handshakes_without_cookie_max: usize,
    /// Associations of one worker, at most.
    pub associations_max: usize,
}

impl Settings {
    /// The defaults, for a server that is `identity`.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            groups: Group::ALL.to_vec(),
            psk_ke: false,
            alpn: Vec::new(),
            address_policy: AddressPolicy::default(),
            answer_early_data_at_once: false,
            tickets: 1,
            mtu: 1200,
            retransmit_after: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            handshakes_without_cookie_max: 1_000,
            associations_max: 100_000,
        }
    }

    /// An engine that decides by the same settings.
    pub fn engine(&self) -> Builder {
        let groups: Vec<u16> = self.groups.iter().map(|group| group.code()).collect();
        Engine::builder()
            .groups(&groups)
            .allow_psk_ke(self.psk_ke)
            .address_policy(self.address_policy)
    }
}
