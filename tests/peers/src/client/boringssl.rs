//! BoringSSL. It has no 0-RTT over DTLS.

use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::net::SocketAddr;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use boring_sys as ffi;
use dtls_session::schedule::CipherSuite;
use dtls_session::wire::DTLS_1_3;

use super::{Agreed, EarlyData, RETRANSMIT_AFTER, Read, Settings, Socket, Stack};
use crate::Result;

/// A connection of BoringSSL.
pub struct BoringSsl {
    ssl: *mut ffi::SSL,
    ctx: *mut ffi::SSL_CTX,
    /// What the callbacks of `ssl` see of this connection: from `Box`, and freed after `ssl`.
    seen: *mut Seen,
}

struct Seen {
    socket: Socket,
    newest: Option<Session>,
}

/// A session of BoringSSL.
pub struct Session(*mut ffi::SSL_SESSION);

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: this holds a reference of its own, and gives it back once.
        unsafe { ffi::SSL_SESSION_free(self.0) }
    }
}

const MTU: u32 = 1350;

const DTLS_1_2: u16 = 0xfefd;

/// ecdsa_secp256r1_sha256, ed25519 and rsa_pss_rsae_sha256.
const SIGNATURE_SCHEMES: [u16; 3] = [0x0403, 0x0807, 0x0804];

const SUCCESS: c_int = 1;

/// What `SSL_get_error` says of a stack that waits for the socket.
const WAITS: [c_int; 2] = [ffi::SSL_ERROR_WANT_READ, ffi::SSL_ERROR_WANT_WRITE];

impl Stack for BoringSsl {
    type Session = Session;

    fn new(server: SocketAddr, settings: &Settings, session: Option<&Session>) -> Result<Self> {
        if settings.suite.is_some() || settings.psk_alone || settings.connection_id {
            return Err("BoringSSL has no such setting".into());
        }
        let (oldest, newest) = match settings.old_version {
            true => (DTLS_1_2, DTLS_1_2),
            false => (DTLS_1_3, DTLS_1_3),
        };
        let seen = Seen {
            socket: Socket::connect(server)?,
            newest: None,
        };
        // SAFETY: all three are new, and freed by `drop`; a null context makes a null `SSL`.
        let this = unsafe {
            let ctx = ffi::SSL_CTX_new(ffi::DTLS_method());
            ffi::SSL_CTX_set_min_proto_version(ctx, oldest);
            ffi::SSL_CTX_set_max_proto_version(ctx, newest);
            let cache = ffi::SSL_SESS_CACHE_CLIENT | ffi::SSL_SESS_CACHE_NO_INTERNAL;
            ffi::SSL_CTX_set_session_cache_mode(ctx, cache);
            ffi::SSL_CTX_sess_set_new_cb(ctx, Some(on_session));
            Self {
                ssl: ffi::SSL_new(ctx),
                ctx,
                seen: Box::into_raw(Box::new(seen)),
            }
        };
        if this.ssl.is_null() {
            return Err("SSL_new".into());
        }
        this.install_socket();
        this.apply(settings)?;
        if let Some(session) = session {
            // SAFETY: `ssl` and the session live; `ssl` takes a reference of its own.
            succeeds("SSL_set_session", unsafe {
                ffi::SSL_set_session(this.ssl, session.0)
            })?;
        }
        Ok(this)
    }

    fn socket(&self) -> &Socket {
        // SAFETY: it lives as long as this does, and nobody ever changes it.
        unsafe { &(*self.seen).socket }
    }

    fn write_early(&mut self, _: &[u8]) -> Result<()> {
        Err("BoringSSL has no early data over DTLS".into())
    }

    fn handshake(&mut self) -> Result<bool> {
        // SAFETY: `ssl` lives.
        let result = unsafe { ffi::SSL_do_handshake(self.ssl) };
        match self.error(result) {
            ffi::SSL_ERROR_NONE => Ok(true),
            error if WAITS.contains(&error) => Ok(false),
            error => Err(why("SSL_do_handshake", error)),
        }
    }

    fn agreed(&self) -> Result<Agreed> {
        // SAFETY: `ssl` lives; after the handshake it has a cipher.
        let (suite, reused) = unsafe {
            let cipher = ffi::SSL_get_current_cipher(self.ssl);
            let suite = ffi::SSL_CIPHER_get_protocol_id(cipher);
            (suite, ffi::SSL_session_reused(self.ssl))
        };
        Ok(Agreed {
            suite: CipherSuite::from_code(suite)
                .ok_or_else(|| format!("cipher suite {suite:#x}"))?,
            resumed: reused == 1,
            early_data: EarlyData::NotSent,
        })
    }

    fn read(&mut self, out: &mut [u8]) -> Result<Read> {
        // SAFETY: `ssl` lives, and writes `len` bytes at most.
        let result = unsafe { ffi::SSL_read(self.ssl, out.as_mut_ptr().cast(), len(out)) };
        match self.error(result) {
            ffi::SSL_ERROR_NONE => Ok(Read::Data(usize::try_from(result).unwrap_or(0))),
            ffi::SSL_ERROR_ZERO_RETURN => Ok(Read::Closed),
            error if WAITS.contains(&error) => Ok(Read::Nothing),
            error => Err(why("SSL_read", error)),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        // SAFETY: `ssl` lives, and reads the `len` bytes before it returns.
        let result = unsafe { ffi::SSL_write(self.ssl, data.as_ptr().cast(), len(data)) };
        match self.error(result) {
            ffi::SSL_ERROR_NONE => Ok(()),
            error => Err(why("SSL_write", error)),
        }
    }

    fn ticket(&self) -> Option<Session> {
        // SAFETY: `seen` lives, and no callback runs now. The session is given out with a
        // reference of its own.
        unsafe {
            let newest = (*self.seen).newest.as_ref()?.0;
            ffi::SSL_SESSION_up_ref(newest);
            Some(Session(newest))
        }
    }

    fn timer(&self) -> Option<Duration> {
        let mut left = ffi::timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        // SAFETY: `ssl` lives.
        let runs = unsafe { ffi::DTLSv1_get_timeout(self.ssl, &mut left) } == 1;
        let micros = left.tv_sec * 1_000_000 + left.tv_usec;
        runs.then(|| Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }

    fn on_timer(&mut self) -> Result<()> {
        // SAFETY: `ssl` lives.
        let result = unsafe { ffi::DTLSv1_handle_timeout(self.ssl) };
        if result >= 0 {
            return Ok(());
        }
        Err(why("DTLSv1_handle_timeout", self.error(result)))
    }

    fn update_keys(&mut self) -> Result<()> {
        // SAFETY: `ssl` lives.
        succeeds("SSL_key_update", unsafe {
            ffi::SSL_key_update(self.ssl, ffi::SSL_KEY_UPDATE_REQUESTED)
        })
    }

    fn close(&mut self) {
        // SAFETY: `ssl` lives.
        unsafe { ffi::SSL_shutdown(self.ssl) };
    }
}

impl BoringSsl {
    fn install_socket(&self) {
        // SAFETY: `ssl` takes over the new BIO and does not outlive `seen`, which is what the
        // BIO's callbacks and `on_session` take the pointers that they find for.
        unsafe {
            let bio = ffi::BIO_new(method());
            ffi::BIO_set_data(bio, self.seen.cast());
            ffi::BIO_set_init(bio, 1);
            ffi::SSL_set_bio(self.ssl, bio, bio);
            ffi::SSL_set_ex_data(self.ssl, 0, self.seen.cast());
            ffi::SSL_set_mtu(self.ssl, MTU);
            ffi::DTLSv1_set_initial_timeout_duration(self.ssl, RETRANSMIT_AFTER.as_millis() as u32);
            ffi::SSL_set_connect_state(self.ssl);
        }
    }

    fn apply(&self, settings: &Settings) -> Result<()> {
        // SAFETY: both live; the algorithms and the certificate are copied.
        unsafe {
            let schemes = SIGNATURE_SCHEMES;
            let (place, len) = (schemes.as_ptr(), schemes.len());
            let set = ffi::SSL_set_verify_algorithm_prefs(self.ssl, place, len);
            succeeds("SSL_set_verify_algorithm_prefs", set)?;
            let mut mode = ffi::SSL_VERIFY_NONE;
            if let Some(der) = &settings.trust {
                let (mut place, len) = (der.as_ptr(), der.len() as c_long);
                let certificate = ffi::d2i_X509(ptr::null_mut(), &mut place, len);
                let store = ffi::SSL_CTX_get_cert_store(self.ctx);
                let added = ffi::X509_STORE_add_cert(store, certificate);
                ffi::X509_free(certificate);
                succeeds("X509_STORE_add_cert", added)?;
                mode = ffi::SSL_VERIFY_PEER;
            }
            ffi::SSL_set_verify(self.ssl, mode, None);
        }
        let groups = &settings.groups;
        if !groups.is_empty() {
            // SAFETY: `ssl` lives; the groups are copied.
            succeeds("SSL_set1_group_ids", unsafe {
                ffi::SSL_set1_group_ids(self.ssl, groups.as_ptr(), groups.len())
            })?;
        }
        if let Some(name) = &settings.server_name {
            let name = CString::new(name.as_str()).map_err(|why| why.to_string())?;
            // SAFETY: `ssl` lives; the name is copied.
            succeeds("SSL_set_tlsext_host_name", unsafe {
                ffi::SSL_set_tlsext_host_name(self.ssl, name.as_ptr())
            })?;
        }
        Ok(())
    }

    fn error(&self, result: c_int) -> c_int {
        // SAFETY: `ssl` lives.
        unsafe { ffi::SSL_get_error(self.ssl, result) }
    }
}

impl Drop for BoringSsl {
    fn drop(&mut self) {
        // SAFETY: all three are ours, and nobody uses them after this; freeing null does nothing.
        unsafe {
            ffi::SSL_free(self.ssl);
            ffi::SSL_CTX_free(self.ctx);
            drop(Box::from_raw(self.seen));
        }
    }
}

fn succeeds(function: &str, result: c_int) -> Result<()> {
    if result == SUCCESS {
        return Ok(());
    }
    Err(why(function, result))
}

/// What went wrong, with all that waits in the error queue of this thread.
fn why(function: &str, error: c_int) -> String {
    let mut text = format!("{function}: {error}");
    loop {
        // SAFETY: neither has conditions; the second one writes a C string into the buffer.
        let line = unsafe {
            let code = ffi::ERR_get_error();
            if code == 0 {
                return text;
            }
            let mut line: [c_char; 200] = [0; 200];
            ffi::ERR_error_string_n(code, line.as_mut_ptr(), line.len());
            line.map(|byte| byte as u8)
        };
        let end = line.iter().position(|byte| *byte == 0).unwrap_or(0);
        text.push(' ');
        text.push_str(&String::from_utf8_lossy(&line[..end]));
    }
}

fn len(bytes: &[u8]) -> c_int {
    c_int::try_from(bytes.len()).unwrap_or(c_int::MAX)
}

/// How a BIO reads and writes a [`Socket`].
fn method() -> *const ffi::BIO_METHOD {
    static METHOD: OnceLock<usize> = OnceLock::new();
    let method = METHOD.get_or_init(|| {
        // SAFETY: it is new, and never freed; the callbacks fit the BIOs that `install_socket`
        // makes of it.
        unsafe {
            let method = ffi::BIO_meth_new(0, c"socket".as_ptr());
            ffi::BIO_meth_set_read(method, Some(on_read));
            ffi::BIO_meth_set_write(method, Some(on_write));
            ffi::BIO_meth_set_ctrl(method, Some(on_ctrl));
            method as usize
        }
    });
    ptr::with_exposed_provenance(*method)
}

/// # Safety
/// `bio` is one of `install_socket`, and there are `len` bytes at `out`.
unsafe extern "C" fn on_read(bio: *mut ffi::BIO, out: *mut c_char, len: c_int) -> c_int {
    // SAFETY: as promised by the caller. BoringSSL is done with `out` until this returns.
    unsafe {
        ffi::BIO_clear_retry_flags(bio);
        let seen = &*ffi::BIO_get_data(bio).cast::<Seen>();
        let out = std::slice::from_raw_parts_mut(out.cast::<u8>(), len as usize);
        match seen.socket.receive(out) {
            Some(received) => received as c_int,
            None => {
                ffi::BIO_set_retry_read(bio);
                -1
            }
        }
    }
}

/// # Safety
/// `bio` is one of `install_socket`, and there are `len` bytes at `datagram`.
unsafe extern "C" fn on_write(bio: *mut ffi::BIO, datagram: *const c_char, len: c_int) -> c_int {
    // SAFETY: as promised by the caller.
    unsafe {
        let seen = &*ffi::BIO_get_data(bio).cast::<Seen>();
        let datagram = std::slice::from_raw_parts(datagram.cast::<u8>(), len as usize);
        seen.socket.send(datagram);
    }
    len
}

/// Nothing is buffered, so that flushing always succeeds; nothing else is supported.
unsafe extern "C" fn on_ctrl(_: *mut ffi::BIO, cmd: c_int, _: c_long, _: *mut c_void) -> c_long {
    c_long::from(cmd == ffi::BIO_CTRL_FLUSH)
}

/// # Safety
/// `ssl` is one of `install_socket`, and nobody else looks at what it has newest.
unsafe extern "C" fn on_session(ssl: *mut ffi::SSL, session: *mut ffi::SSL_SESSION) -> c_int {
    // SAFETY: as promised by the caller.
    unsafe {
        let seen = ffi::SSL_get_ex_data(ssl, 0).cast::<Seen>();
        (*seen).newest = Some(Session(session));
    }
    // It keeps the reference.
    1
}
