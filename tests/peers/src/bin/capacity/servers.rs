//! The two servers, each in a process of its own with one thread that serves, on the first core.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;

use dtls_session_peers::client::{Connection, Own};
use dtls_session_peers::gateway::Gateway;
use dtls_session_peers::killed::Killed;
use dtls_session_peers::{Result, scene};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The argument with which this program is a wolfSSL server.
pub(crate) const WOLFSSL_SERVER: &str = "--wolfssl-server";

/// A server, until it is dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) process: u32,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Gateway(Gateway),
    Wolfssl { _child: Killed },
}

impl Server {
    pub(crate) fn gateway() -> Result<Self> {
        let gateway = Gateway::start(1, &[])?;
        Ok(Self {
            name: "gateway",
            address: gateway.address,
            process: gateway.id(),
            kind: Kind::Gateway(gateway),
        })
    }

    pub(crate) fn wolfssl() -> Result<Self> {
        let address = free_udp_address()?;
        let myself = std::env::current_exe().map_err(|why| why.to_string())?;
        let mut command = Command::new(myself);
        let child = Killed::spawn(command.args([WOLFSSL_SERVER, &address.to_string()]))?;
        // It is ready when somebody is answered.
        let (connection, _) = Connection::<Own>::connect(address, &scene::x25519(), None, &[])?;
        connection.close();
        Ok(Self {
            name: "wolfSSL",
            address,
            process: child.id(),
            kind: Kind::Wolfssl { _child: child },
        })
    }
}

/// Has this thread, and those that it starts, run on one core, if there are several.
pub(crate) fn pin(core: Core) -> Result<()> {
    let allowed = sched_getaffinity(None).map_err(|why| why.to_string())?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let chosen = match core {
        Core::First => cores.next(),
        Core::Last => cores.next_back(),
    };
    let mut set = CpuSet::new();
    set.set(chosen.ok_or("no core to run on")?);
    sched_setaffinity(None, &set).map_err(|why| why.to_string())
}

/// Which core a thread runs on.
pub(crate) enum Core {
    /// That of the servers.
    First,
    /// That of the clients.
    Last,
}

/// An address of loopback at which nobody listens.
fn free_udp_address() -> Result<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let address = socket.and_then(|socket| socket.local_addr());
    address.map_err(|why| why.to_string())
}
