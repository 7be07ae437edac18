//! The key schedule by itself, as hosts and clients call it: what it derives is where the caller
//! has it, and nowhere else.

use dtls_session::schedule::{
    EARLY_DATA_EPOCH, EarlySecret, Hash, HashAlgorithm, HmacKey, LabelPrefix, RecordOpener,
    RecordSealer, Secret, TrafficKeys, finished_key, hkdf, resumption_psk,
};
use zeroize::Zeroizing;

use crate::child::from_name;
use crate::needles::{Needles, of_child, to_hex};
use crate::scan::{Scanner, deep};

const DTLS13: LabelPrefix = LabelPrefix::Dtls13;

/// What `derive` makes of the secret `from` has the secret `to`, and when both are dropped nothing
/// is left. Neither is moved: a move leaves a copy.
#[track_caller]
fn assert_leaves_nothing<R>(
    (scanner, all, hash): (&Scanner, &Needles, HashAlgorithm),
    [from, to]: [&str; 2],
    derive: impl FnOnce(&Secret) -> R,
) {
    {
        let from = all.with(from, |bytes| Secret::from_bytes(hash, bytes));
        let _derived = deep(|| derive(from.as_ref().unwrap()));
        scanner.assert_there(&all.of(&[to]));
    }
    scanner.assert_gone(all);
}

#[test]
fn what_is_derived_leaves_nothing_in_memory_when_it_is_dropped() {
    let scanner = Scanner::new();
    for name in ["aes128", "aes256", "chacha20"] {
        let suite = from_name(name);
        let hash = suite.hash();
        let session = of_child(&format!("ticket {name}"));
        let ticket = to_hex(session.public("ticket"));
        let all = session.and(&of_child(&format!("flights {name} {ticket}")));
        let check = (&scanner, &all, hash);

        // From the connection before to the binder and the handshake,
        assert_leaves_nothing(check, ["master", "input/psk"], |master| {
            resumption_psk(DTLS13, master, &[0])
        });
        let [early, kept] = match hash {
            HashAlgorithm::Sha256 => ["input/early-secret", "words/kept"],
            HashAlgorithm::Sha384 => ["early/kept"; 2],
        };
        assert_leaves_nothing(check, ["input/psk", kept], |psk| {
            EarlySecret::from_psk(hash, psk.as_bytes())
        });
        assert_leaves_nothing(check, [early, kept], |early| {
            EarlySecret::from_bytes(hash, early.as_bytes())
        });
        assert_leaves_nothing(check, ["input/psk", early], |psk| {
            hkdf::extract(hash, Secret::zero(hash).as_bytes(), psk.as_bytes())
        });
        assert_leaves_nothing(check, ["input/psk", "input/binder-secret"], |psk| {
            let early = EarlySecret::from_psk(hash, psk.as_bytes());
            early.resumption_binder_secret(DTLS13)
        });
        assert_leaves_nothing(check, ["input/psk", "words/binder-key"], |psk| {
            let early = EarlySecret::from_psk(hash, psk.as_bytes());
            early.binder_key(DTLS13)
        });
        assert_leaves_nothing(check, ["input/psk", "input/derived"], |psk| {
            let early = EarlySecret::from_psk(hash, psk.as_bytes());
            early.derived(DTLS13)
        });
        assert_leaves_nothing(check, [early, "input/binder-secret"], |early| {
            let nothing = Hash::digest(hash, &[]);
            hkdf::derive_secret(DTLS13, early, b"res binder", &nothing)
        });
        let names = ["input/binder-secret", "input/finished-key"];
        assert_leaves_nothing(check, names, |binder| finished_key(DTLS13, binder));
        let room = || Zeroizing::new(vec![0; hash.output_len()]);
        assert_leaves_nothing(check, names, |binder| {
            let mut key = room();
            hkdf::expand_label(DTLS13, binder, b"finished", &[], &mut key).unwrap();
            key
        });
        assert_leaves_nothing(check, names, |binder| {
            let mut key = room();
            let info = [&[0, key.len() as u8, 14], &b"dtls13finished\0"[..]].concat();
            hkdf::expand(hash, binder.as_bytes(), &info, &mut key).unwrap();
            key
        });
        let names = ["input/finished-key", "words/binder-key"];
        assert_leaves_nothing(check, names, |key| HmacKey::new(hash, key.as_bytes()));
        {
            let key = all.with(names[0], |key| HmacKey::new(hash, key));
            let _mac = deep(|| key.sign(&[b"ClientHello"]));
        }
        scanner.assert_gone(&all);

        // and from the early secret to the keys of early data.
        let key = if name == "chacha20" {
            "records/key"
        } else {
            "records/key/round-0"
        };
        assert_leaves_nothing(check, ["traffic/secret", key], |secret| {
            TrafficKeys::derive(DTLS13, suite, secret)
        });
    }
}

#[test]
fn keys_of_records_leave_nothing_in_memory_when_they_are_dropped() {
    let scanner = Scanner::new();
    for name in ["aes128", "aes256", "chacha20"] {
        let suite = from_name(name);
        let ticket = to_hex(of_child(&format!("ticket {name}")).public("ticket"));
        let all = of_child(&format!("flights {name} {ticket}"));
        let (sealer, opener) = {
            let secret = all.with("traffic/secret", |secret| {
                Secret::from_bytes(suite.hash(), secret)
            });
            let keys = deep(|| TrafficKeys::derive(DTLS13, suite, secret.as_ref().unwrap()));
            let keys = keys.as_ref().unwrap();
            let sealer = deep(|| RecordSealer::new(keys, EARLY_DATA_EPOCH).unwrap());
            let opener = deep(|| RecordOpener::new(keys, EARLY_DATA_EPOCH).unwrap());
            (sealer, opener)
        };
        scanner.assert_there(&all.of(&["records"]));
        drop(sealer);
        scanner.assert_there(&all.of(&["records"]));
        drop(opener);
        scanner.assert_gone(&all);
    }
}
