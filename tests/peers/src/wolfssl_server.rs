//! A wolfSSL server for many clients at once, to compare the gateway with: one thread and one
//! socket, tickets and early data, and an echo, as with the gateway.
//!
//! Nothing is sent again: it is for loopback.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{c_char, c_int, c_uchar, c_void};
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;

use wolfssl_sys as ffi;

use crate::Result;

const SUCCESS: c_int = 1;

/// Bytes of early data that a ticket allows: the gateway's default.
const MAX_EARLY_DATA: u32 = 16_384;

/// The longest record, and a datagram's headers.
const DATAGRAM_MAX: usize = 1 << 15;

/// Serves until the process ends, or the socket fails.
pub fn serve(address: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(address).map_err(|why| format!("{address}: {why}"))?;
    let socket = Rc::new(socket);
    let ctx = context()?;
    let mut connections: HashMap<SocketAddr, Connection> = HashMap::new();
    let mut datagram = [0; DATAGRAM_MAX];
    let mut data = [0; DATAGRAM_MAX];
    loop {
        let received = socket.recv_from(&mut datagram);
        let (len, peer) = received.map_err(|why| why.to_string())?;
        let mut connection = match connections.entry(peer) {
            Entry::Occupied(known) => known,
            Entry::Vacant(new) => new.insert_entry(Connection::new(ctx, Rc::clone(&socket), peer)?),
        };
        if connection.get_mut().receive(&datagram[..len], &mut data) == Fate::Over {
            connection.remove();
        }
    }
}

fn context() -> Result<*mut ffi::WOLFSSL_CTX> {
    let made = rcgen::generate_simple_self_signed([String::from("localhost")]);
    let made = made.map_err(|why| why.to_string())?;
    let (certificate, key) = (made.cert.der(), made.signing_key.serialize_der());
    let der = ffi::WOLFSSL_FILETYPE_ASN1 as c_int;
    // SAFETY: a context that is never freed; certificate and key are copied.
    unsafe {
        assert_eq!(ffi::wolfSSL_Init(), SUCCESS);
        let ctx = ffi::wolfSSL_CTX_new(ffi::wolfDTLSv1_3_server_method());
        let (place, len) = (certificate.as_ptr(), certificate.len() as _);
        let set = ffi::wolfSSL_CTX_use_certificate_buffer(ctx, place, len, der);
        succeeds("the certificate", set)?;
        let (place, len) = (key.as_ptr(), key.len() as _);
        succeeds(
            "the key",
            ffi::wolfSSL_CTX_use_PrivateKey_buffer(ctx, place, len, der),
        )?;
        let set = ffi::wolfSSL_CTX_set_max_early_data(ctx, MAX_EARLY_DATA);
        succeeds("max_early_data", set)?;
        Ok(ctx)
    }
}

fn succeeds(what: &str, result: c_int) -> Result<()> {
    if result == SUCCESS {
        return Ok(());
    }
    Err(format!("{what}: {result}"))
}

#[derive(PartialEq)]
enum Fate {
    GoesOn,
    Over,
}

struct Connection {
    ssl: *mut ffi::WOLFSSL,
    /// What the callbacks of `ssl` see of this connection: from `Box`, and freed after `ssl`.
    seen: *mut Seen,
    /// Early data, which is echoed when the handshake is complete.
    early: Vec<Vec<u8>>,
    is_complete: bool,
}

struct Seen {
    socket: Rc<UdpSocket>,
    peer: SocketAddr,
    /// The datagram that came last, until it is read.
    datagram: Option<Vec<u8>>,
}

impl Connection {
    fn new(ctx: *mut ffi::WOLFSSL_CTX, socket: Rc<UdpSocket>, peer: SocketAddr) -> Result<Self> {
        let seen = Box::into_raw(Box::new(Seen {
            socket,
            peer,
            datagram: None,
        }));
        // SAFETY: `ctx` lives for ever. The new connection does not outlive `seen`, which is what
        // the callbacks take their pointers for.
        unsafe {
            let ssl = ffi::wolfSSL_new(ctx);
            let this = Self {
                ssl,
                seen,
                early: Vec::new(),
                is_complete: false,
            };
            if ssl.is_null() {
                return Err("wolfSSL_new".into());
            }
            ffi::wolfSSL_SSLSetIORecv(ssl, Some(on_receive));
            ffi::wolfSSL_SSLSetIOSend(ssl, Some(on_send));
            ffi::wolfSSL_SetIOReadCtx(ssl, seen.cast());
            ffi::wolfSSL_SetIOWriteCtx(ssl, seen.cast());
            ffi::wolfSSL_dtls_set_using_nonblock(ssl, 1);
            let set = ffi::wolfSSL_dtls13_no_hrr_on_resume(ssl, 1);
            succeeds("no_hrr_on_resume", set)?;
            Ok(this)
        }
    }

    /// Takes in a datagram; `data` is room for what is in it.
    fn receive(&mut self, datagram: &[u8], data: &mut [u8]) -> Fate {
        // SAFETY: `seen` lives, and no callback runs now.
        unsafe { (*self.seen).datagram = Some(datagram.to_vec()) };
        if !self.is_complete {
            if self.accept(data) == Fate::Over {
                return Fate::Over;
            }
            if !self.is_complete {
                return Fate::GoesOn;
            }
            for early in std::mem::take(&mut self.early) {
                self.write(&early);
            }
        }
        loop {
            // SAFETY: `ssl` lives, and writes as many bytes as there are, at most.
            let read = unsafe {
                ffi::wolfSSL_read(self.ssl, data.as_mut_ptr().cast(), data.len() as c_int)
            };
            match usize::try_from(read) {
                Ok(len @ 1..) => self.write(&data[..len]),
                _ if self.waits(read) => return Fate::GoesOn,
                _ => {
                    // SAFETY: `ssl` lives.
                    unsafe { ffi::wolfSSL_shutdown(self.ssl) };
                    return Fate::Over;
                }
            }
        }
    }

    fn accept(&mut self, data: &mut [u8]) -> Fate {
        loop {
            let mut len = 0;
            // SAFETY: `ssl` lives, and writes as many bytes as there are, at most.
            let read = unsafe {
                let room = data.len() as c_int;
                ffi::wolfSSL_read_early_data(self.ssl, data.as_mut_ptr().cast(), room, &mut len)
            };
            match usize::try_from(len) {
                Ok(len @ 1..) => self.early.push(data[..len].to_vec()),
                _ if read < 0 && !self.waits(read) => return Fate::Over,
                _ => break,
            }
        }
        // SAFETY: `ssl` lives.
        let accepted = unsafe { ffi::wolfSSL_accept(self.ssl) };
        self.is_complete = accepted == SUCCESS;
        if self.is_complete || self.waits(accepted) {
            return Fate::GoesOn;
        }
        Fate::Over
    }

    fn write(&mut self, data: &[u8]) {
        // SAFETY: `ssl` lives, and reads the bytes before it returns.
        unsafe { ffi::wolfSSL_write(self.ssl, data.as_ptr().cast(), data.len() as c_int) };
    }

    fn waits(&self, result: c_int) -> bool {
        // SAFETY: `ssl` lives.
        let error = unsafe { ffi::wolfSSL_get_error(self.ssl, result) };
        let waits = [ffi::WOLFSSL_ERROR_WANT_READ, ffi::WOLFSSL_ERROR_WANT_WRITE];
        error == 0 || waits.iter().any(|wait| *wait as c_int == error)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: both are ours, and nobody uses them after this; freeing null does nothing.
        unsafe {
            ffi::wolfSSL_free(self.ssl);
            drop(Box::from_raw(self.seen));
        }
    }
}

/// # Safety
/// `seen` is the [`Seen`] of a live connection, which nobody else looks at now, and there are
/// `len` bytes at `out`.
unsafe extern "C" fn on_receive(
    _: *mut ffi::WOLFSSL,
    out: *mut c_char,
    len: c_int,
    seen: *mut c_void,
) -> c_int {
    // SAFETY: as promised by the caller.
    unsafe {
        let Some(datagram) = (*seen.cast::<Seen>()).datagram.take() else {
            return ffi::IOerrors_WOLFSSL_CBIO_ERR_WANT_READ;
        };
        let len = datagram.len().min(len as usize);
        std::ptr::copy_nonoverlapping(datagram.as_ptr(), out.cast::<c_uchar>(), len);
        len as c_int
    }
}

/// # Safety
/// `seen` is the [`Seen`] of a live connection, and there are `len` bytes at `datagram`.
unsafe extern "C" fn on_send(
    _: *mut ffi::WOLFSSL,
    datagram: *mut c_char,
    len: c_int,
    seen: *mut c_void,
) -> c_int {
    // SAFETY: as promised by the caller.
    let (seen, datagram) = unsafe {
        let datagram = std::slice::from_raw_parts(datagram.cast::<u8>(), len as usize);
        (&*seen.cast::<Seen>(), datagram)
    };
    let _ = seen.socket.send_to(datagram, seen.peer);
    len
}
