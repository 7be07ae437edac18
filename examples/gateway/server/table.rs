//! The associations of one worker: found by the client's address or by connection ID, limited in
//! number, and woken when their time comes.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use dtls_session::UnixMillis;

use super::connection::{CONNECTION_ID_LEN, Connection, ConnectionId};
use super::event::{Closed, Host};

/// The associations of a worker.
pub struct Table {
    places: Vec<Place>,
    free: Vec<usize>,
    by_peer: HashMap<SocketAddr, Peer>,
    by_id: HashMap<ConnectionId, usize>,
    handshakes: usize,
    /// When to look at which place: at one time for each that is taken. It may turn out that
    /// nothing is due yet, since most times move on with every datagram, and this does not.
    wakes: BTreeSet<(UnixMillis, usize)>,
    len_max: usize,
}

#[derive(Default)]
struct Place {
    connection: Option<Box<Connection>>,
    /// The address under which it is found: that of its handshake. Who moves on from there has a
    /// connection ID, and is found by that.
    filed_under: Option<SocketAddr>,
    /// Its entry in `wakes`.
    wake: Option<UnixMillis>,
}

/// The associations with one address. A new one may be in the making while the client's last one,
/// which it may have lost, lives on (RFC 9147, 5.11).
#[derive(Clone, Copy, Default)]
struct Peer {
    established: Option<usize>,
    handshaking: Option<usize>,
}

impl Table {
    /// A table of at most `len_max` associations.
    pub fn new(len_max: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_peer: HashMap::new(),
            by_id: HashMap::new(),
            handshakes: 0,
            wakes: BTreeSet::new(),
            len_max,
        }
    }

    /// How many associations there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn is_full(&self) -> bool {
        self.len() >= self.len_max
    }

    /// How many of them are handshakes that are not over.
    pub fn handshakes(&self) -> usize {
        self.handshakes
    }

    /// The association with `peer` that this ClientHello has begun: see
    /// [`Connection::began_with`].
    pub fn begun_by(
        &mut self,
        peer: SocketAddr,
        random: &[u8; 32],
        is_second: bool,
    ) -> Option<&mut Connection> {
        let Peer {
            established,
            handshaking,
        } = *self.by_peer.get(&peer)?;
        let is_it = |place: &usize| {
            let connection = self.places[*place].connection.as_ref();
            connection.is_some_and(|connection| connection.began_with(random, is_second))
        };
        let place = handshaking.into_iter().chain(established).find(is_it)?;
        self.places[place].connection.as_deref_mut()
    }

    /// Whether a handshake with `peer` is under way.
    pub fn is_handshaking(&self, peer: SocketAddr) -> bool {
        let peer = self.by_peer.get(&peer);
        peer.is_some_and(|peer| peer.handshaking.is_some())
    }

    /// Adds an association whose handshake has begun. It takes the place of one with the same peer
    /// whose handshake is not over.
    pub fn insert(&mut self, connection: Connection) {
        let peer = connection.peer();
        if let Some(abandoned) = self.by_peer.get(&peer).and_then(|peer| peer.handshaking) {
            self.remove(abandoned);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        if let Some(id) = connection.connection_id() {
            self.by_id.insert(id, place);
        }
        self.by_peer.entry(peer).or_default().handshaking = Some(place);
        self.handshakes += 1;
        self.places[place] = Place {
            connection: Some(Box::new(connection)),
            filed_under: Some(peer),
            wake: None,
        };
        self.schedule(place);
    }

    /// Gives a datagram to the association that it is for, if there is one.
    pub fn receive(&mut self, datagram: &mut [u8], peer: SocketAddr, host: &mut Host<'_>) {
        let (first, second) = self.addressees(datagram, peer);
        let Some(first) = first else { return };
        if let Some(second) = second {
            // Which of the two it is for only their keys can tell, and the first look at a record
            // changes it.
            self.receive_at(second, &mut datagram.to_vec(), peer, host);
        }
        self.receive_at(first, datagram, peer, host);
    }

    fn addressees(&self, datagram: &[u8], peer: SocketAddr) -> (Option<usize>, Option<usize>) {
        if let Some(id) = connection_id(datagram) {
            return (self.by_id.get(&id).copied(), None);
        }
        match self.by_peer.get(&peer) {
            None => (None, None),
            Some(peer) => match (peer.established, peer.handshaking) {
                (None, only) | (only, None) => (only, None),
                both => both,
            },
        }
    }

    fn receive_at(
        &mut self,
        place: usize,
        datagram: &mut [u8],
        peer: SocketAddr,
        host: &mut Host<'_>,
    ) {
        if let Some(connection) = &mut self.places[place].connection {
            connection.receive(datagram, peer, host);
            self.settle(place, host);
        }
    }

    /// After something happened to an association: takes note of what it is now.
    fn settle(&mut self, place: usize, host: &mut Host<'_>) {
        let Some(connection) = &self.places[place].connection else {
            return;
        };
        if connection.is_closed() {
            self.remove(place);
            return;
        }
        if !connection.is_handshaking() {
            self.complete(place, host);
        }
        self.schedule(place);
    }

    /// Its handshake is over. If that is news, it takes the place of the association that its client
    /// had before: only who receives at an address completes a handshake there (RFC 9147, 5.11).
    fn complete(&mut self, place: usize, host: &mut Host<'_>) {
        let Some(address) = self.places[place].filed_under else {
            return;
        };
        let peer = self.by_peer.get_mut(&address);
        let Some(peer) = peer.filter(|peer| peer.handshaking == Some(place)) else {
            return;
        };
        peer.handshaking = None;
        self.handshakes -= 1;
        let Some(former) = peer.established.replace(place) else {
            return;
        };
        let Place {
            connection,
            filed_under,
            ..
        } = &mut self.places[former];
        *filed_under = None;
        if let Some(connection) = connection
            && connection.peer() == address
        {
            connection.abandon(host);
            self.remove(former);
        }
    }

    fn remove(&mut self, place: usize) {
        self.unfile(place);
        if let Some(wake) = self.places[place].wake.take() {
            self.wakes.remove(&(wake, place));
        }
        if let Some(connection) = self.places[place].connection.take() {
            if let Some(id) = connection.connection_id() {
                self.by_id.remove(&id);
            }
            self.free.push(place);
        }
    }

    /// It is no longer found by its peer.
    fn unfile(&mut self, place: usize) {
        let Some(address) = self.places[place].filed_under.take() else {
            return;
        };
        let Some(peer) = self.by_peer.get_mut(&address) else {
            return;
        };
        if peer.established == Some(place) {
            peer.established = None;
        }
        if peer.handshaking == Some(place) {
            peer.handshaking = None;
            self.handshakes -= 1;
        }
        if peer.established.is_none() && peer.handshaking.is_none() {
            self.by_peer.remove(&address);
        }
    }

    fn schedule(&mut self, place: usize) {
        let Place {
            connection, wake, ..
        } = &mut self.places[place];
        let Some(due) = connection.as_ref().map(|connection| connection.timeout()) else {
            return;
        };
        if wake.is_none_or(|wake| due < wake) {
            if let Some(later) = wake.replace(due) {
                self.wakes.remove(&(later, place));
            }
            self.wakes.insert((due, place));
        }
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do, or may.
    pub fn timeout(&self) -> Option<UnixMillis> {
        self.wakes.first().map(|(due, _)| *due)
    }

    /// Lets the associations whose time has come do what is due.
    pub fn on_timeout(&mut self, host: &mut Host<'_>) {
        while let Some(&(due, place)) = self.wakes.first()
            && due <= host.now
        {
            self.wakes.pop_first();
            let Place {
                connection, wake, ..
            } = &mut self.places[place];
            *wake = None;
            if let Some(connection) = connection {
                if connection.timeout() <= host.now {
                    connection.on_timeout(host);
                }
                self.settle(place, host);
            }
        }
    }

    /// Ends all associations.
    pub fn close(&mut self, host: &mut Host<'_>) {
        for place in 0..self.places.len() {
            if let Some(connection) = &mut self.places[place].connection {
                connection.close(Closed::Shutdown, host);
                self.remove(place);
            }
        }
    }
}

/// The connection ID of the record with which a datagram begins.
pub fn connection_id(datagram: &[u8]) -> Option<ConnectionId> {
    let (first, rest) = datagram.split_first()?;
    // Fixed bits and C bit (RFC 9147, 4).
    let has_id = first & 0b1111_0000 == 0b0011_0000;
    let id = rest.first_chunk::<CONNECTION_ID_LEN>()?;
    has_id.then_some(*id)
}
