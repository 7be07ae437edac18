//! wolfSSL.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_long, c_uchar, c_void};
use std::net::SocketAddr;
use std::sync::Once;
use std::time::Duration;

use dtls_session::schedule::CipherSuite;
use wolfssl_sys as ffi;

use super::{
    Agreed, EarlyData, RETRANSMIT_AFTER, RETRANSMIT_AFTER_MAX, Read, Settings, Socket, Stack,
};
use crate::Result;

/// A connection of wolfSSL.
pub struct WolfSsl {
    ssl: *mut ffi::WOLFSSL,
    ctx: *mut ffi::WOLFSSL_CTX,
    /// What the callbacks of `ssl` see of this connection: from `Box`, and freed after `ssl`.
    seen: *mut Seen,
    /// Data that came before the ACK of the Finished.
    overtook: VecDeque<Vec<u8>>,
}

struct Seen {
    socket: Socket,
    tickets: u32,
}

/// A session of wolfSSL.
pub struct Session(*mut ffi::WOLFSSL_SESSION);

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: this holds a reference of its own, and gives it back once.
        unsafe { ffi::wolfSSL_SESSION_free(self.0) }
    }
}

/// What it wants to find in records.
const CONNECTION_ID: [u8; 3] = *b"wlf";

// What wolfSSL's functions return if all is well.
const SUCCESS: c_int = 1;

impl Stack for WolfSsl {
    type Session = Session;

    fn new(server: SocketAddr, settings: &Settings, session: Option<&Session>) -> Result<Self> {
        static INIT: Once = Once::new();
        let seen = Seen {
            socket: Socket::connect(server)?,
            tickets: 0,
        };
        // SAFETY: both are new, and freed by `drop`; a `WOLFSSL` takes a null context for an error.
        let this = unsafe {
            INIT.call_once(|| assert_eq!(ffi::wolfSSL_Init(), SUCCESS));
            let ctx = ffi::wolfSSL_CTX_new(ffi::wolfDTLSv1_3_client_method());
            Self {
                ssl: ffi::wolfSSL_new(ctx),
                ctx,
                seen: Box::into_raw(Box::new(seen)),
                overtook: VecDeque::new(),
            }
        };
        if this.ssl.is_null() {
            return Err("wolfSSL_new".into());
        }
        this.install_callbacks();
        this.apply(settings)?;
        if let Some(session) = session {
            // SAFETY: `ssl` and the session live; `ssl` takes a reference of its own.
            succeeds("wolfSSL_set_session", unsafe {
                ffi::wolfSSL_set_session(this.ssl, session.0)
            })?;
        }
        Ok(this)
    }

    fn socket(&self) -> &Socket {
        // SAFETY: it lives as long as this does, and the callbacks, which alone change what is
        // behind it, do not touch the socket.
        unsafe { &(*self.seen).socket }
    }

    fn write_early(&mut self, data: &[u8]) -> Result<()> {
        let mut written = 0;
        // SAFETY: `ssl` lives, and reads the `len` bytes before it returns.
        let result = unsafe {
            let data_len = len(data);
            ffi::wolfSSL_write_early_data(self.ssl, data.as_ptr().cast(), data_len, &mut written)
        };
        if written == len(data) {
            return Ok(());
        }
        Err(self.why("wolfSSL_write_early_data", result))
    }

    fn handshake(&mut self) -> Result<bool> {
        loop {
            // SAFETY: `ssl` lives.
            let result = unsafe { ffi::wolfSSL_connect(self.ssl) };
            if result == SUCCESS {
                return Ok(true);
            }
            if self.wants_to_wait(result) {
                return Ok(false);
            }
            if self.error(result) != ffi::wolfSSL_ErrorCodes_APP_DATA_READY {
                return Err(self.why("wolfSSL_connect", result));
            }
            // Data has overtaken the ACK of the Finished. It has to be read before what follows.
            let mut data = vec![0; 1 << 14];
            if let Read::Data(len) = self.read_newest(&mut data)? {
                data.truncate(len);
                self.overtook.push_back(data);
            }
        }
    }

    fn agreed(&self) -> Result<Agreed> {
        // SAFETY: `ssl` lives.
        let (suite, reused, early) = unsafe {
            (
                ffi::wolfSSL_get_current_cipher_suite(self.ssl),
                ffi::wolfSSL_session_reused(self.ssl),
                ffi::wolfSSL_get_early_data_status(self.ssl),
            )
        };
        Ok(Agreed {
            suite: u16::try_from(suite)
                .ok()
                .and_then(CipherSuite::from_code)
                .ok_or_else(|| format!("cipher suite {suite:#x}"))?,
            resumed: reused == 1,
            early_data: match early {
                2 => EarlyData::Accepted,
                1 => EarlyData::Rejected,
                _ => EarlyData::NotSent,
            },
        })
    }

    fn read(&mut self, out: &mut [u8]) -> Result<Read> {
        let Some(data) = self.overtook.pop_front() else {
            return self.read_newest(out);
        };
        let place = out.get_mut(..data.len()).ok_or("no room for what came")?;
        place.copy_from_slice(&data);
        Ok(Read::Data(data.len()))
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        // SAFETY: `ssl` lives, and reads the `len` bytes before it returns.
        let result = unsafe { ffi::wolfSSL_write(self.ssl, data.as_ptr().cast(), len(data)) };
        if result == len(data) {
            return Ok(());
        }
        Err(self.why("wolfSSL_write", result))
    }

    fn ticket(&self) -> Option<Session> {
        // SAFETY: both live; the session comes with a reference, which is ours.
        unsafe {
            if (*self.seen).tickets == 0 {
                return None;
            }
            let session = ffi::wolfSSL_get1_session(self.ssl);
            (!session.is_null()).then_some(Session(session))
        }
    }

    fn timer(&self) -> Option<Duration> {
        // wolfSSL counts in seconds: here it lives so much faster.
        // SAFETY: `ssl` lives.
        let (seconds, quick) = unsafe {
            (
                ffi::wolfSSL_dtls_get_current_timeout(self.ssl),
                ffi::wolfSSL_dtls13_use_quick_timeout(self.ssl),
            )
        };
        let times = u32::try_from(seconds).unwrap_or(1);
        let timer = RETRANSMIT_AFTER * times.clamp(1, RETRANSMIT_AFTER_MAX);
        Some(if quick == 1 { timer / 4 } else { timer })
    }

    fn on_timer(&mut self) -> Result<()> {
        // SAFETY: `ssl` lives.
        let result = unsafe {
            let waits = ffi::wolfSSL_is_init_finished(self.ssl) == 0
                || ffi::wolfSSL_dtls13_has_pending_msg(self.ssl) == 1
                || ffi::wolfSSL_dtls13_use_quick_timeout(self.ssl) == 1;
            // Where nothing waits for an answer, wolfSSL would count to its last time-out.
            if waits {
                ffi::wolfSSL_dtls_got_timeout(self.ssl)
            } else {
                SUCCESS
            }
        };
        if result == SUCCESS {
            return Ok(());
        }
        Err(self.why("wolfSSL_dtls_got_timeout", result))
    }

    fn update_keys(&mut self) -> Result<()> {
        // SAFETY: `ssl` lives.
        let result = unsafe { ffi::wolfSSL_update_keys(self.ssl) };
        if result == SUCCESS || self.wants_to_wait(result) {
            return Ok(());
        }
        Err(self.why("wolfSSL_update_keys", result))
    }

    fn close(&mut self) {
        // SAFETY: `ssl` lives.
        unsafe { ffi::wolfSSL_shutdown(self.ssl) };
    }
}

impl WolfSsl {
    /// Whether records in both directions have connection IDs.
    #[must_use]
    pub fn uses_connection_ids(&self) -> bool {
        // SAFETY: `ssl` lives.
        unsafe { ffi::wolfSSL_dtls_cid_is_enabled(self.ssl) == 1 }
    }

    /// What came before the ACK of the Finished and was not read yet: nothing, if the network keeps
    /// the order.
    #[must_use]
    pub fn overtook(&self) -> usize {
        self.overtook.len()
    }

    fn read_newest(&self, out: &mut [u8]) -> Result<Read> {
        // SAFETY: `ssl` lives, and writes `len` bytes at most.
        let result = unsafe { ffi::wolfSSL_read(self.ssl, out.as_mut_ptr().cast(), len(out)) };
        match usize::try_from(result) {
            Ok(read @ 1..) => Ok(Read::Data(read)),
            _ if self.wants_to_wait(result) => Ok(Read::Nothing),
            _ if self.error(result) == ffi::WOLFSSL_ERROR_ZERO_RETURN as c_int => Ok(Read::Closed),
            _ => Err(self.why("wolfSSL_read", result)),
        }
    }

    fn install_callbacks(&self) {
        let seen: *mut c_void = self.seen.cast();
        // SAFETY: `ssl` lives and does not outlive `seen`, which is what each of these callbacks
        // takes it for.
        unsafe {
            ffi::wolfSSL_SSLSetIORecv(self.ssl, Some(on_receive));
            ffi::wolfSSL_SSLSetIOSend(self.ssl, Some(on_send));
            ffi::wolfSSL_SetIOReadCtx(self.ssl, seen);
            ffi::wolfSSL_SetIOWriteCtx(self.ssl, seen);
            ffi::wolfSSL_set_SessionTicket_cb(self.ssl, Some(on_ticket), seen);
            ffi::wolfSSL_dtls_set_using_nonblock(self.ssl, 1);
            // It doubles until then, and gives up.
            ffi::wolfSSL_dtls_set_timeout_max(self.ssl, 1 << 30);
        }
    }

    fn apply(&self, settings: &Settings) -> Result<()> {
        // SAFETY: `ssl` lives; the certificate is copied.
        unsafe {
            let mut mode = ffi::WOLFSSL_VERIFY_NONE;
            if let Some(der) = &settings.trust {
                let format = ffi::WOLFSSL_FILETYPE_ASN1 as c_int;
                let (place, len) = (der.as_ptr(), der.len() as c_long);
                let loaded = ffi::wolfSSL_CTX_load_verify_buffer(self.ctx, place, len, format);
                succeeds("wolfSSL_CTX_load_verify_buffer", loaded)?;
                mode = ffi::WOLFSSL_VERIFY_PEER;
            }
            ffi::wolfSSL_set_verify(self.ssl, mode as c_int, None);
        }
        if let Some(suite) = settings.suite {
            let name = match suite {
                CipherSuite::Aes128GcmSha256 => c"TLS13-AES128-GCM-SHA256",
                CipherSuite::Aes256GcmSha384 => c"TLS13-AES256-GCM-SHA384",
                CipherSuite::Chacha20Poly1305Sha256 => c"TLS13-CHACHA20-POLY1305-SHA256",
            };
            // SAFETY: `ssl` lives; the name is copied.
            succeeds("wolfSSL_set_cipher_list", unsafe {
                ffi::wolfSSL_set_cipher_list(self.ssl, name.as_ptr())
            })?;
        }
        if let [first, ..] = settings.groups[..] {
            let mut groups: Vec<c_int> = settings.groups.iter().map(|g| c_int::from(*g)).collect();
            // SAFETY: `ssl` lives; the groups are copied.
            unsafe {
                let count = groups.len() as c_int;
                let set = ffi::wolfSSL_set_groups(self.ssl, groups.as_mut_ptr(), count);
                succeeds("wolfSSL_set_groups", set)?;
                succeeds(
                    "wolfSSL_UseKeyShare",
                    ffi::wolfSSL_UseKeyShare(self.ssl, first),
                )?;
            }
        }
        if settings.psk_alone {
            // SAFETY: `ssl` lives. It returns 0 if all is well.
            succeeds("wolfSSL_no_dhe_psk", unsafe {
                SUCCESS - ffi::wolfSSL_no_dhe_psk(self.ssl)
            })?;
        }
        if settings.connection_id {
            let mut id = CONNECTION_ID;
            // SAFETY: `ssl` lives; the ID is copied.
            unsafe {
                succeeds("wolfSSL_dtls_cid_use", ffi::wolfSSL_dtls_cid_use(self.ssl))?;
                let (place, len) = (id.as_mut_ptr(), id.len() as u32);
                let set = ffi::wolfSSL_dtls_cid_set(self.ssl, place, len);
                succeeds("wolfSSL_dtls_cid_set", set)?;
            }
        }
        if settings.old_version {
            return Err("this client of wolfSSL is for DTLS 1.3".into());
        }
        if let Some(name) = &settings.server_name {
            let kind = ffi::WOLFSSL_SNI_HOST_NAME as u8;
            // SAFETY: `ssl` lives; the name is copied.
            succeeds("wolfSSL_UseSNI", unsafe {
                ffi::wolfSSL_UseSNI(self.ssl, kind, name.as_ptr().cast(), name.len() as u16)
            })?;
        }
        Ok(())
    }

    fn error(&self, result: c_int) -> c_int {
        // SAFETY: `ssl` lives.
        unsafe { ffi::wolfSSL_get_error(self.ssl, result) }
    }

    fn wants_to_wait(&self, result: c_int) -> bool {
        let waits = [ffi::WOLFSSL_ERROR_WANT_READ, ffi::WOLFSSL_ERROR_WANT_WRITE];
        let error = self.error(result);
        waits.iter().any(|wait| *wait as c_int == error)
    }

    fn why(&self, function: &str, result: c_int) -> String {
        let error = self.error(result);
        let mut text: [c_char; 160] = [0; 160];
        // SAFETY: it writes a C string of less than 160 bytes, and returns its place.
        let text =
            unsafe { CStr::from_ptr(ffi::wolfSSL_ERR_error_string(error as _, text.as_mut_ptr())) };
        format!("{function}: {error} {}", text.to_string_lossy())
    }
}

impl Drop for WolfSsl {
    fn drop(&mut self) {
        // SAFETY: all three are ours, and nobody uses them after this; freeing null does nothing.
        unsafe {
            ffi::wolfSSL_free(self.ssl);
            ffi::wolfSSL_CTX_free(self.ctx);
            drop(Box::from_raw(self.seen));
        }
    }
}

fn succeeds(function: &str, result: c_int) -> Result<()> {
    if result == SUCCESS {
        return Ok(());
    }
    Err(format!("{function}: {result}"))
}

fn len(bytes: &[u8]) -> c_int {
    c_int::try_from(bytes.len()).unwrap_or(c_int::MAX)
}

/// # Safety
/// `seen` is the [`Seen`] of a live connection, and there are `len` bytes at `out`.
unsafe extern "C" fn on_receive(
    _: *mut ffi::WOLFSSL,
    out: *mut c_char,
    len: c_int,
    seen: *mut c_void,
) -> c_int {
    // SAFETY: as promised by the caller. wolfSSL is done with `out` until this returns.
    let (seen, out) = unsafe {
        let out = std::slice::from_raw_parts_mut(out.cast::<u8>(), len as usize);
        (&*seen.cast::<Seen>(), out)
    };
    match seen.socket.receive(out) {
        Some(received) => received as c_int,
        None => ffi::IOerrors_WOLFSSL_CBIO_ERR_WANT_READ,
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
    seen.socket.send(datagram);
    len
}

/// # Safety
/// `seen` is the [`Seen`] of a live connection, and nobody else looks at it now.
unsafe extern "C" fn on_ticket(
    _: *mut ffi::WOLFSSL,
    _: *const c_uchar,
    _: c_int,
    seen: *mut c_void,
) -> c_int {
    // SAFETY: as promised by the caller.
    unsafe { (*seen.cast::<Seen>()).tickets += 1 };
    0
}
