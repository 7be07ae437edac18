//! Secrets that this process may hold masked only.

use std::collections::HashMap;
use std::process::Command;

use zeroize::Zeroizing;

/// Every byte is masked with it.
pub(crate) const MASK: u8 = 0xa5;
/// So many bytes in a row count as the secret.
pub(crate) const PIECE: usize = 16;

/// How the child is asked.
pub(crate) const REQUEST: &str = "DTLS_SESSION_NEEDLES";

/// Secrets by name, masked; and what the child said that is no secret.
#[derive(Clone, Default)]
pub(crate) struct Needles {
    masked: Vec<(String, Vec<u8>)>,
    public: HashMap<String, Vec<u8>>,
}

/// What a child process that is asked `request` works out.
pub(crate) fn of_child(request: &str) -> Needles {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child::answer",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(REQUEST, request)
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    let why = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{request}: {said} {why}");
    let mut needles = Needles::default();
    for line in said.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["NEEDLE", name, hex] => needles.masked.push((name.to_string(), from_hex(hex))),
            ["PUBLIC", name, hex] => {
                needles.public.insert(name.to_string(), from_hex(hex));
            }
            _ => {}
        }
    }
    assert!(!needles.masked.is_empty(), "{request}: {said}");
    needles
}

impl Needles {
    /// Those whose name begins with one of `prefixes`.
    pub(crate) fn of(&self, prefixes: &[&str]) -> Self {
        let wanted = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let masked = self.masked.iter().filter(|(name, _)| wanted(name));
        let of = Self {
            masked: masked.cloned().collect(),
            public: HashMap::new(),
        };
        assert!(!of.masked.is_empty(), "{prefixes:?}");
        of
    }

    pub(crate) fn and(mut self, others: &Self) -> Self {
        self.masked.extend(others.masked.iter().cloned());
        self
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.masked.iter().map(|(name, _)| name.as_str())
    }

    /// Every run of [`PIECE`] bytes that begins at a multiple of 8.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.masked.iter().flat_map(|(name, masked)| {
            let pieces = masked.windows(PIECE).step_by(8);
            pieces.map(move |piece| (name.as_str(), piece))
        })
    }

    pub(crate) fn public(&self, name: &str) -> &[u8] {
        &self.public[name]
    }

    /// Hands out a secret unmasked, and wipes it afterwards.
    pub(crate) fn with<R>(&self, name: &str, work: impl FnOnce(&[u8]) -> R) -> R {
        let (_, masked) = self.masked.iter().find(|(this, _)| this == name).unwrap();
        let mut secret = Zeroizing::new(masked.clone());
        secret.iter_mut().for_each(|byte| *byte ^= MASK);
        work(&secret)
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
