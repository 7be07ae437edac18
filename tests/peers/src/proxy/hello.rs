//! Hellos: the handshake messages that everybody can read.

use std::collections::BTreeMap;

use dtls_session::wire::{ContentType, Record, fragments, records};

/// The bodies of the messages in plaintext, in the order of their numbers. They may come in
/// fragments, and again.
pub(super) fn hellos(datagrams: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut messages: BTreeMap<u16, Vec<Option<u8>>> = BTreeMap::new();
    for datagram in datagrams {
        let plaintext = records(&datagram, 0).filter_map(|record| match record {
            Ok(Record::Plaintext(record)) => Some(record),
            _ => None,
        });
        let handshake = plaintext.filter(|record| record.content_type == ContentType::HANDSHAKE);
        for fragment in handshake
            .flat_map(|record| fragments(record.fragment))
            .flatten()
        {
            let body = messages.entry(fragment.message_seq).or_default();
            body.resize(fragment.length as usize, None);
            let offset = fragment.fragment_offset as usize;
            for (to, from) in body.iter_mut().skip(offset).zip(fragment.body) {
                *to = Some(*from);
            }
        }
    }
    let whole = |body: Vec<Option<u8>>| body.into_iter().collect();
    messages.into_values().filter_map(whole).collect()
}
