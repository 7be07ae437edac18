//! One core of the gateway: its socket, its server, and the application, which echoes.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use dtls_session::Engine;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use tracing::{debug, trace};

use super::clock::Clock;
use super::stats::Stats;
use crate::Failure;
use crate::server::{Event, Outbox, Packet, Reply, Server, Settings};
use crate::sockets::{self, Inbox};

/// What a worker needs to begin.
pub(super) struct Context {
    pub(super) lane: usize,
    pub(super) clock: Clock,
    pub(super) engine: Engine,
    pub(super) settings: Arc<Settings>,
    pub(super) stats: Arc<Stats>,
    pub(super) control: Control,
    /// The ways to all workers, by lane.
    pub(super) others: Vec<Handover>,
    /// Datagrams that are taken from the socket at once.
    pub(super) batch: usize,
}

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const STOPPED: u8 = 2;

/// Tells a worker to end.
#[derive(Clone)]
pub(super) struct Control {
    state: Arc<AtomicU8>,
    waker: Arc<Waker>,
}

impl Control {
    /// And the poll that it wakes.
    pub(super) fn new() -> io::Result<(Poll, Self)> {
        let poll = Poll::new()?;
        let control = Self {
            state: Arc::default(),
            waker: Arc::new(Waker::new(poll.registry(), WAKE)?),
        };
        Ok((poll, control))
    }

    /// No new associations; end when the handshakes under way are over.
    pub(super) fn drain(&self) {
        self.tell(DRAINING);
    }

    /// End now.
    pub(super) fn stop(&self) {
        self.tell(STOPPED);
    }

    fn tell(&self, state: u8) {
        self.state.fetch_max(state, Relaxed);
        // A worker that has ended needs no waking.
        let _ = self.waker.wake();
    }
}

/// A datagram and whom it is from.
pub(super) type Moved = (Vec<u8>, SocketAddr);

/// The way to a worker for datagrams of its clients that came to another's socket: the kernel
/// distributes by address, and a client with a connection ID may have moved.
#[derive(Clone)]
pub(super) struct Handover {
    inlet: SyncSender<Moved>,
    waker: Arc<Waker>,
}

impl Handover {
    pub(super) fn new(inlet: SyncSender<Moved>, control: &Control) -> Self {
        Self {
            inlet,
            waker: Arc::clone(&control.waker),
        }
    }

    pub(super) fn send(&self, datagram: &[u8], peer: SocketAddr) {
        // If it is full, the datagram is lost.
        if self.inlet.try_send((datagram.to_vec(), peer)).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

/// Serves until it is told to end. The socket is returned open: the kernel distributes the clients of
/// all workers anew when one is closed.
pub(super) fn run(
    context: Context,
    socket: UdpSocket,
    mut poll: Poll,
    moved: &Receiver<Moved>,
) -> Result<UdpSocket, Failure> {
    poll.registry().register(
        &mut SourceFd(&socket.as_raw_fd()),
        SOCKET,
        Interest::READABLE,
    )?;
    let mut inbox = Inbox::new(context.batch);
    let mut core = Core::new(context)?;
    let mut events = Events::with_capacity(2);
    loop {
        // Readiness is told once: a socket, or what others hand over, is left alone only when nothing
        // waits there.
        let more_waits = inbox.fill(&socket)?;
        if !inbox.is_empty() {
            core.receive(inbox.datagrams())?;
        }
        let more_is_handed_over = core.receive_moved(moved)?;
        core.settle(&socket);
        if core.is_over() {
            core.close();
            core.settle(&socket);
            return Ok(socket);
        }
        if more_waits || more_is_handed_over {
            continue;
        }
        match poll.poll(&mut events, core.next_timeout()) {
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            polled => polled?,
        }
    }
}

/// A worker without its socket.
struct Core {
    context: Context,
    server: Server,
    out: Outbox,
}

impl Core {
    fn new(context: Context) -> Result<Self, Failure> {
        let worker = context.engine.worker(context.lane)?;
        let settings = Arc::clone(&context.settings);
        let out = Outbox::new(settings.mtu);
        Ok(Self {
            server: Server::new(settings, worker, u8::try_from(context.lane)?, Instant::now),
            out,
            context,
        })
    }

    /// What came to this worker's socket: it keeps what is its own.
    fn receive<'b>(
        &mut self,
        datagrams: impl Iterator<Item = (&'b mut [u8], SocketAddr)>,
    ) -> Result<(), Failure> {
        let Context {
            stats,
            lane,
            others,
            ..
        } = &self.context;
        let mut batch = Vec::with_capacity(32);
        for (bytes, peer) in datagrams {
            stats.received.add(1);
            match self.server.lane_of(bytes) {
                Some(owner) if owner != *lane => {
                    if let Some(other) = others.get(owner) {
                        other.send(bytes, peer);
                    }
                }
                _ => batch.push(Packet { bytes, peer }),
            }
        }
        self.serve(&mut batch)
    }

    /// What other workers hand over, up to a batch: they may never stop. `false`: nothing more waits.
    fn receive_moved(&mut self, moved: &Receiver<Moved>) -> Result<bool, Failure> {
        let mut taken: Vec<Moved> = moved.try_iter().take(self.context.batch).collect();
        if !taken.is_empty() {
            let packets = taken.iter_mut();
            let packets = packets.map(|(bytes, peer)| Packet { bytes, peer: *peer });
            self.serve(&mut packets.collect::<Vec<_>>())?;
        }
        Ok(taken.len() == self.context.batch)
    }

    fn serve(&mut self, batch: &mut [Packet<'_>]) -> Result<(), Failure> {
        let Context { clock, stats, .. } = &self.context;
        let judged =
            self.server
                .receive(batch, clock.now(), &mut self.out, &mut |event, reply| {
                    echo(stats, event, reply)
                })?;
        if judged.flights > 0 {
            let each = judged.time / judged.flights;
            stats.flight_ns.add(each, judged.flights.into());
        }
        Ok(())
    }

    /// Does what is due, and sends what is to be sent.
    fn settle(&mut self, socket: &UdpSocket) {
        let Context { clock, stats, .. } = &self.context;
        let now = clock.now();
        if self.server.timeout().is_some_and(|due| due <= now) {
            let app = &mut |event: Event<'_>, reply: &mut Reply<'_>| echo(stats, event, reply);
            self.server.on_timeout(now, &mut self.out, app);
        }
        let (sent, unsent) = sockets::send(socket, self.out.datagrams());
        self.out.clear();
        stats.sent.add(sent);
        stats.unsent.add(unsent);
        stats.associations.set(self.server.associations() as u64);
        stats.refused_full.set(self.server.refused());
    }

    /// How long nothing is due.
    fn next_timeout(&self) -> Option<Duration> {
        let due = self.server.timeout()?;
        // A millisecond more, since the clock counts whole ones.
        let wait = due.saturating_since(self.context.clock.now());
        Some(wait + Duration::from_millis(1))
    }

    fn is_over(&mut self) -> bool {
        match self.context.control.state.load(Relaxed) {
            SERVING => false,
            DRAINING => {
                self.server.refuse_newcomers();
                self.server.handshakes() == 0
            }
            _ => true,
        }
    }

    fn close(&mut self) {
        let Context { clock, stats, .. } = &self.context;
        let app = &mut |event: Event<'_>, reply: &mut Reply<'_>| echo(stats, event, reply);
        self.server.close(clock.now(), &mut self.out, app);
    }
}

/// The application. Early data is answered too: it was let in once, and nothing is done by it.
fn echo(stats: &Stats, event: Event<'_>, reply: &mut Reply<'_>) {
    stats.event(&event);
    let peer = reply.peer();
    match event {
        Event::EarlyData(data) => {
            trace!(%peer, len = data.len(), "early data");
            reply.send(data);
        }
        Event::Data(data) => {
            trace!(%peer, len = data.len(), "data");
            reply.send(data);
        }
        Event::Established { is_resumption } => debug!(%peer, is_resumption, "established"),
        Event::Closed(why) => debug!(%peer, ?why, "closed"),
    }
}
