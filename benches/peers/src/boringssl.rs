//! BoringSSL, called as its `ssl_encrypt_ticket` and `ssl_decrypt_ticket_with_ticket_keys` do:
//! AES-128-CBC and HMAC-SHA256, the contexts on the stack, a random IV, the key behind a lock.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::RwLock;

use boring_sys as ffi;

use crate::{IV, MAC, NAME, Tickets};

pub struct TicketKey(RwLock<Keys>);

struct Keys {
    name: [u8; NAME],
    hmac: [u8; 16],
    aes: [u8; 16],
}

impl TicketKey {
    pub fn new() -> Self {
        let mut keys = Keys {
            name: [0; NAME],
            hmac: [0; 16],
            aes: [0; 16],
        };
        random(&mut keys.name);
        random(&mut keys.hmac);
        random(&mut keys.aes);
        Self(RwLock::new(keys))
    }
}

impl Tickets for TicketKey {
    fn seal(&self, session: &[u8]) -> Vec<u8> {
        let mut ticket = Vec::with_capacity(NAME + IV + session.len() + IV + MAC);
        let mut iv = [0; IV];
        random(&mut iv);
        let keys = self.0.read().expect("no panic before");
        ticket.extend(keys.name);
        let mut hmac = Hmac::new(&keys.hmac);
        let mut cipher = Cipher::new(&keys.aes, &iv, Direction::Encrypt);
        drop(keys);
        ticket.extend(iv);
        cipher.update_and_final(session, &mut ticket).expect("room");
        ticket.extend(hmac.sign(&ticket));
        ticket
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk()?;
        let iv = rest.first_chunk()?;
        let keys = self.0.read().expect("no panic before");
        if *name != keys.name {
            return None;
        }
        let mut hmac = Hmac::new(&keys.hmac);
        let mut cipher = Cipher::new(&keys.aes, iv, Direction::Decrypt);
        drop(keys);
        let (signed, mac) = ticket.split_last_chunk::<MAC>()?;
        if !equal(&hmac.sign(signed), mac) {
            return None;
        }
        let ciphertext = signed.get(NAME + IV..)?;
        let mut session = Vec::with_capacity(ciphertext.len());
        cipher.update_and_final(ciphertext, &mut session)?;
        Some(session)
    }
}

enum Direction {
    Encrypt,
    Decrypt,
}

/// AES-128-CBC.
struct Cipher(ffi::EVP_CIPHER_CTX);

impl Cipher {
    fn new(key: &[u8; 16], iv: &[u8; IV], direction: Direction) -> Self {
        let mut ctx = MaybeUninit::uninit();
        // SAFETY: it makes a context of uninitialized memory.
        unsafe { ffi::EVP_CIPHER_CTX_init(ctx.as_mut_ptr()) };
        // SAFETY: the line before. Moved while it points to nothing of itself.
        let mut cipher = Self(unsafe { ctx.assume_init() });
        let (key, iv) = (key.as_ptr(), iv.as_ptr());
        // SAFETY: a context, a cipher that lives for ever, and a key and an IV of its lengths.
        let done = unsafe {
            let (ctx, aes) = (&raw mut cipher.0, ffi::EVP_aes_128_cbc());
            match direction {
                Direction::Encrypt => ffi::EVP_EncryptInit_ex(ctx, aes, ptr::null_mut(), key, iv),
                Direction::Decrypt => ffi::EVP_DecryptInit_ex(ctx, aes, ptr::null_mut(), key, iv),
            }
        };
        assert_eq!(done, 1);
        cipher
    }

    /// Appends all of it to `out`, which has room for it and a block.
    fn update_and_final(&mut self, data: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (mut body, mut rest) = (0, 0);
        let len = data.len().try_into().ok()?;
        let ctx = &raw mut self.0;
        // SAFETY: a context with a key. Encryption writes at most a block more than `data`, for
        // which there is room, and decryption no more than `data`.
        unsafe {
            let end = out.as_mut_ptr().add(out.len());
            if (*ctx).encrypt == 1 {
                assert!(out.capacity() - out.len() >= data.len() + IV);
                (ffi::EVP_EncryptUpdate(ctx, end, &raw mut body, data.as_ptr(), len) == 1
                    && ffi::EVP_EncryptFinal_ex(ctx, end.add(body as usize), &raw mut rest) == 1)
                    .then_some(())?;
            } else {
                assert!(out.capacity() - out.len() >= data.len());
                (ffi::EVP_DecryptUpdate(ctx, end, &raw mut body, data.as_ptr(), len) == 1
                    && ffi::EVP_DecryptFinal_ex(ctx, end.add(body as usize), &raw mut rest) == 1)
                    .then_some(())?;
            }
            out.set_len(out.len() + (body + rest) as usize);
        }
        Some(())
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        // SAFETY: an initialized context, and this is its end.
        unsafe { ffi::EVP_CIPHER_CTX_cleanup(&raw mut self.0) };
    }
}

struct Hmac(ffi::HMAC_CTX);

impl Hmac {
    fn new(key: &[u8; 16]) -> Self {
        let mut ctx = MaybeUninit::uninit();
        // SAFETY: it makes a context of uninitialized memory.
        unsafe { ffi::HMAC_CTX_init(ctx.as_mut_ptr()) };
        // SAFETY: the line before. Moved while it points to nothing of itself.
        let mut hmac = Self(unsafe { ctx.assume_init() });
        // SAFETY: a context, a key and its length, and a hash that lives for ever.
        let done = unsafe {
            ffi::HMAC_Init_ex(
                &raw mut hmac.0,
                key.as_ptr().cast(),
                key.len(),
                ffi::EVP_sha256(),
                ptr::null_mut(),
            )
        };
        assert_eq!(done, 1);
        hmac
    }

    fn sign(&mut self, data: &[u8]) -> [u8; MAC] {
        let mut mac = [0; MAC];
        let ctx = &raw mut self.0;
        // SAFETY: a context with a key of a hash with 32 bytes of output.
        let done = unsafe {
            ffi::HMAC_Update(ctx, data.as_ptr(), data.len())
                & ffi::HMAC_Final(ctx, mac.as_mut_ptr(), ptr::null_mut())
        };
        assert_eq!(done, 1);
        mac
    }
}

impl Drop for Hmac {
    fn drop(&mut self) {
        // SAFETY: an initialized context, and this is its end.
        unsafe { ffi::HMAC_CTX_cleanup(&raw mut self.0) };
    }
}

fn equal(a: &[u8; MAC], b: &[u8; MAC]) -> bool {
    // SAFETY: both are as long.
    unsafe { ffi::CRYPTO_memcmp(a.as_ptr().cast(), b.as_ptr().cast(), MAC) == 0 }
}

fn random(bytes: &mut [u8]) {
    // SAFETY: it fills the slice.
    let done = unsafe { ffi::RAND_bytes(bytes.as_mut_ptr(), bytes.len()) };
    assert_eq!(done, 1);
}
