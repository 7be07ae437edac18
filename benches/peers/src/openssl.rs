//! OpenSSL 3, called as its `construct_stateless_ticket` and `tls_decrypt_ticket` do: AES-256-CBC
//! and HMAC-SHA256, the algorithms fetched and the contexts allocated for each ticket, a random IV.
//!
//! The system's library, loaded when it is needed: linked beside BoringSSL, either would call the
//! other's functions, which have the same names.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::{IV, MAC, NAME, Tickets};

/// Declares the functions that are used, and loads them.
macro_rules! functions {
    ($($name:ident: fn($($arg:ty),*) $(-> $result:ty)?;)*) => {
        #[allow(non_snake_case)]
        struct Functions {
            $($name: unsafe extern "C" fn($($arg),*) $(-> $result)?,)*
            _library: Library,
        }

        impl Functions {
            fn load() -> Result<Self, libloading::Error> {
                // SAFETY: OpenSSL's initializers may run in any program.
                let library = unsafe { Library::open(Some("libcrypto.so.3"), RTLD_NOW | RTLD_LOCAL)? };
                Ok(Self {
                    // SAFETY: the types are those of OpenSSL 3's headers.
                    $($name: *unsafe { library.get(stringify!($name).as_bytes())? },)*
                    _library: library,
                })
            }
        }
    };
}

type Ctx = *mut c_void;

functions! {
    CRYPTO_memcmp: fn(*const c_void, *const c_void, usize) -> c_int;
    EVP_CIPHER_CTX_free: fn(Ctx);
    EVP_CIPHER_CTX_new: fn() -> Ctx;
    EVP_CIPHER_fetch: fn(Ctx, *const c_char, *const c_char) -> Ctx;
    EVP_CIPHER_free: fn(Ctx);
    EVP_DecryptFinal: fn(Ctx, *mut u8, *mut c_int) -> c_int;
    EVP_DecryptInit_ex: fn(Ctx, Ctx, Ctx, *const u8, *const u8) -> c_int;
    EVP_DecryptUpdate: fn(Ctx, *mut u8, *mut c_int, *const u8, c_int) -> c_int;
    EVP_EncryptFinal: fn(Ctx, *mut u8, *mut c_int) -> c_int;
    EVP_EncryptInit_ex: fn(Ctx, Ctx, Ctx, *const u8, *const u8) -> c_int;
    EVP_EncryptUpdate: fn(Ctx, *mut u8, *mut c_int, *const u8, c_int) -> c_int;
    EVP_MAC_CTX_free: fn(Ctx);
    EVP_MAC_CTX_new: fn(Ctx) -> Ctx;
    EVP_MAC_fetch: fn(Ctx, *const c_char, *const c_char) -> Ctx;
    EVP_MAC_final: fn(Ctx, *mut u8, *mut usize, usize) -> c_int;
    EVP_MAC_free: fn(Ctx);
    EVP_MAC_init: fn(Ctx, *const u8, usize, *const Param) -> c_int;
    EVP_MAC_update: fn(Ctx, *const u8, usize) -> c_int;
    RAND_bytes: fn(*mut u8, c_int) -> c_int;
}

/// `OSSL_PARAM`.
#[repr(C)]
struct Param {
    key: *const c_char,
    data_type: c_uint,
    data: *mut c_void,
    data_size: usize,
    return_size: usize,
}

const UTF8_STRING: c_uint = 4;

fn openssl() -> &'static Functions {
    static LOADED: OnceLock<Functions> = OnceLock::new();
    LOADED.get_or_init(|| Functions::load().expect("OpenSSL 3 is installed"))
}

pub struct TicketKey {
    name: [u8; NAME],
    hmac: [u8; 32],
    aes: [u8; 32],
}

impl TicketKey {
    pub fn new() -> Self {
        let mut key = Self {
            name: [0; NAME],
            hmac: [0; 32],
            aes: [0; 32],
        };
        random(&mut key.name);
        random(&mut key.hmac);
        random(&mut key.aes);
        key
    }
}

impl Tickets for TicketKey {
    fn seal(&self, session: &[u8]) -> Vec<u8> {
        let mut mac = Mac::new();
        let mut cipher = Cipher::new();
        let mut iv = [0; IV];
        random(&mut iv);
        cipher.encrypt(&self.aes, &iv);
        mac.key(&self.hmac);
        let mut ticket = Vec::with_capacity(NAME + IV + session.len() + IV + MAC);
        ticket.extend(self.name);
        ticket.extend(iv);
        cipher.encrypted(session, &mut ticket);
        ticket.extend(mac.sign(&ticket));
        ticket
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let mut mac = Mac::new();
        let mut cipher = Cipher::new();
        let (name, rest) = ticket.split_first_chunk()?;
        if *name != self.name {
            return None;
        }
        mac.key(&self.hmac);
        cipher.decrypt(&self.aes, rest.first_chunk()?);
        let (signed, found) = ticket.split_last_chunk()?;
        if !equal(&mac.sign(signed), found) {
            return None;
        }
        cipher.decrypted(signed.get(NAME + IV..)?)
    }
}

/// A context for AES-256-CBC.
struct Cipher(Ctx);

impl Cipher {
    fn new() -> Self {
        // SAFETY: no arguments.
        let ctx = unsafe { (openssl().EVP_CIPHER_CTX_new)() };
        assert!(!ctx.is_null());
        Self(ctx)
    }

    fn encrypt(&mut self, key: &[u8; 32], iv: &[u8; IV]) {
        self.init(openssl().EVP_EncryptInit_ex, key, iv);
    }

    fn decrypt(&mut self, key: &[u8; 32], iv: &[u8; IV]) {
        self.init(openssl().EVP_DecryptInit_ex, key, iv);
    }

    fn init(
        &mut self,
        init: unsafe extern "C" fn(Ctx, Ctx, Ctx, *const u8, *const u8) -> c_int,
        key: &[u8; 32],
        iv: &[u8; IV],
    ) {
        let name = c"AES-256-CBC".as_ptr();
        // SAFETY: the default context, a name, and no properties.
        let cipher = unsafe { (openssl().EVP_CIPHER_fetch)(ptr::null_mut(), name, ptr::null()) };
        assert!(!cipher.is_null());
        // SAFETY: a context, a cipher, and a key and an IV of its lengths.
        let done = unsafe { init(self.0, cipher, ptr::null_mut(), key.as_ptr(), iv.as_ptr()) };
        assert_eq!(done, 1);
        // SAFETY: fetched above; the context has a reference of its own.
        unsafe { (openssl().EVP_CIPHER_free)(cipher) };
    }

    /// Appends to `out`, which has room for a block more than `data`.
    fn encrypted(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let (mut body, mut rest) = (0, 0);
        let len = data.len().try_into().expect("short");
        assert!(out.capacity() - out.len() >= data.len() + IV);
        // SAFETY: a context with a key, which writes at most a block more than `data`.
        unsafe {
            let end = out.as_mut_ptr().add(out.len());
            let update = openssl().EVP_EncryptUpdate;
            assert_eq!(update(self.0, end, &raw mut body, data.as_ptr(), len), 1);
            let end = end.add(body as usize);
            assert_eq!((openssl().EVP_EncryptFinal)(self.0, end, &raw mut rest), 1);
            out.set_len(out.len() + (body + rest) as usize);
        }
    }

    fn decrypted(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let (mut body, mut rest) = (0, 0);
        let len = data.len().try_into().ok()?;
        let mut out = Vec::with_capacity(data.len());
        // SAFETY: a context with a key, which writes no more than `data` is long.
        unsafe {
            let end: *mut u8 = out.as_mut_ptr();
            let update = openssl().EVP_DecryptUpdate;
            let done = update(self.0, end, &raw mut body, data.as_ptr(), len);
            (done == 1).then_some(())?;
            let done = (openssl().EVP_DecryptFinal)(self.0, end.add(body as usize), &raw mut rest);
            (done == 1).then_some(())?;
            out.set_len((body + rest) as usize);
        }
        Some(out)
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and freed once.
        unsafe { (openssl().EVP_CIPHER_CTX_free)(self.0) }
    }
}

/// A context for HMAC-SHA256.
struct Mac(Ctx);

impl Mac {
    fn new() -> Self {
        // SAFETY: the default context, a name, and no properties; a context has a reference of its
        // own to the algorithm.
        let ctx = unsafe {
            let name = c"HMAC".as_ptr();
            let hmac = (openssl().EVP_MAC_fetch)(ptr::null_mut(), name, ptr::null());
            assert!(!hmac.is_null());
            let ctx = (openssl().EVP_MAC_CTX_new)(hmac);
            (openssl().EVP_MAC_free)(hmac);
            ctx
        };
        assert!(!ctx.is_null());
        Self(ctx)
    }

    fn key(&mut self, key: &[u8; 32]) {
        const DIGEST: &CStr = c"digest";
        const SHA256: &CStr = c"SHA256";
        let params = [
            Param {
                key: DIGEST.as_ptr(),
                data_type: UTF8_STRING,
                data: SHA256.as_ptr().cast_mut().cast(),
                data_size: SHA256.count_bytes(),
                return_size: usize::MAX,
            },
            Param {
                key: ptr::null(),
                data_type: 0,
                data: ptr::null_mut(),
                data_size: 0,
                return_size: 0,
            },
        ];
        let init = openssl().EVP_MAC_init;
        // SAFETY: a context, a key and its length, and parameters that end with an empty one and
        // are read only.
        let done = unsafe { init(self.0, key.as_ptr(), key.len(), params.as_ptr()) };
        assert_eq!(done, 1);
    }

    fn sign(&mut self, data: &[u8]) -> [u8; MAC] {
        let mut mac = [0; MAC];
        let mut len = 0;
        // SAFETY: a context with a key, and room for as many bytes as are said.
        let done = unsafe {
            (openssl().EVP_MAC_update)(self.0, data.as_ptr(), data.len())
                & (openssl().EVP_MAC_final)(self.0, mac.as_mut_ptr(), &raw mut len, MAC)
        };
        assert_eq!((done, len), (1, MAC));
        mac
    }
}

impl Drop for Mac {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and freed once.
        unsafe { (openssl().EVP_MAC_CTX_free)(self.0) }
    }
}

fn equal(a: &[u8; MAC], b: &[u8; MAC]) -> bool {
    // SAFETY: both are as long.
    unsafe { (openssl().CRYPTO_memcmp)(a.as_ptr().cast(), b.as_ptr().cast(), MAC) == 0 }
}

fn random(bytes: &mut [u8]) {
    let len = bytes.len().try_into().expect("short");
    // SAFETY: it fills the slice.
    let done = unsafe { (openssl().RAND_bytes)(bytes.as_mut_ptr(), len) };
    assert_eq!(done, 1);
}
