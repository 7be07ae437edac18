//! Memory for each association that is open.

use dtls_session_peers::client::{Connection, Own};
use dtls_session_peers::{Result, scene};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::process;
use crate::servers::Server;

/// Associations that are open at the same time.
const OPEN: usize = 2000;

pub(crate) fn measure() -> Result<()> {
    println!("memory of an association, {OPEN} of them open, after a full handshake");
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).map_err(|why| format!("open files: {why}"))?;
    let mut taken = Vec::new();
    for server in [Server::gateway()?, Server::wolfssl()?] {
        let before = process::memory(server.process)?;
        let mut open = Vec::new();
        for _ in 0..OPEN {
            let settings = scene::x25519();
            let mut connection =
                Connection::<Own>::connect(server.address, &settings, None, &[])?.0;
            connection.session()?;
            open.push(connection);
        }
        let after = process::memory(server.process)?;
        let each = after.saturating_sub(before) as f64 / OPEN as f64;
        println!("  {:8} {each:>8.0} bytes", server.name);
        taken.push(each);
    }
    println!("  ratio    {:>8.3}\n", taken[0] / taken[1]);
    Ok(())
}
