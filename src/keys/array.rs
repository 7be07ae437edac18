//! The array of keys that readers see: built whole, then never changed.

use super::ticket_key::{KeyId, TicketKey};
use crate::sync::Arc;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyRole {
    /// Opens tickets of hosts that already seal with it; seals from its activation on.
    Pending,
    /// Seals and opens.
    Active,
    /// Opens until the last ticket that it sealed has expired.
    DecryptOnly,
}

/// A key and its place in the life of keys.
pub(crate) struct Entry {
    pub(crate) key: Arc<TicketKey>,
    pub(crate) role: KeyRole,
    /// It was given, not drawn: other hosts may seal with it too.
    pub(crate) shared: bool,
    /// When it became, or is to become, active (ms).
    pub(crate) activates: u64,
    /// When it ceased to be active (ms); the end of time before that.
    pub(crate) deactivated: u64,
}

/// All keys that open tickets now, found by their id at once.
pub(crate) struct KeyArray {
    active: Arc<TicketKey>,
    /// Open addressing over ids, which are hashes already; twice as many places as keys, or more,
    /// and a power of two.
    table: Box<[Option<Arc<TicketKey>>]>,
}

impl KeyArray {
    /// `entries` holds exactly one active key, at `active`.
    pub(crate) fn new(entries: &[Entry], active: usize) -> Self {
        debug_assert!(entries[active].role == KeyRole::Active);
        let size = (entries.len() * 2).next_power_of_two();
        let mut table = vec![None; size].into_boxed_slice();
        for entry in entries {
            let mut place = first_place(entry.key.id(), size);
            while table[place].is_some() {
                place = (place + 1) & (size - 1);
            }
            table[place] = Some(Arc::clone(&entry.key));
        }
        Self {
            active: Arc::clone(&entries[active].key),
            table,
        }
    }

    /// The most bytes of an array of `keys`, but for the keys themselves.
    pub(crate) const fn bytes(keys: usize) -> usize {
        // The table has less than four places for each key.
        let key = 4 * size_of::<Option<Arc<TicketKey>>>();
        size_of::<Self>().saturating_add(keys.saturating_mul(key))
    }

    /// The key that seals.
    pub(crate) fn active(&self) -> &TicketKey {
        &self.active
    }

    #[inline]
    pub(crate) fn find(&self, id: KeyId) -> Option<&TicketKey> {
        let mut place = first_place(id, self.table.len());
        // Ends, since at least half of the places are empty.
        while let Some(key) = &self.table[place] {
            if key.id() == id {
                return Some(key);
            }
            place = (place + 1) & (self.table.len() - 1);
        }
        None
    }
}

/// `size` is a power of two.
#[inline]
fn first_place(id: KeyId, size: usize) -> usize {
    id.0 as usize & (size - 1)
}
