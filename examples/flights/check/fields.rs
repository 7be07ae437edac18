//! The fields of a JSON object, each of which may be missing or null.

use serde_json::Value;

/// A JSON object.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Value);

impl<'a> Fields<'a> {
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn typed<T>(
        self,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match read(value) {
                None => Err(format!("{name} is not {what}")),
                read => Ok(read),
            },
        }
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, String> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(super) fn number(self, name: &str) -> Result<Option<u64>, String> {
        self.typed(name, "a number", Value::as_u64)
    }

    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, String> {
        self.typed(name, "true or false", Value::as_bool)
    }

    pub(super) fn bytes(self, name: &str) -> Result<Option<Vec<u8>>, String> {
        self.typed(name, "a string of hex digits", |value| {
            unhex(value.as_str()?)
        })
    }

    /// An array; an empty one if it is missing.
    pub(super) fn list(self, name: &str) -> Result<&'a [Value], String> {
        let list = self.typed(name, "an array", |value| Some(value.as_array()?.as_slice()))?;
        Ok(list.unwrap_or_default())
    }
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |&digit: &u8| char::from(digit).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks();
    if !rest.is_empty() {
        return None;
    }
    let byte = |[high, low]: &[u8; 2]| Some((digit(high)? << 4 | digit(low)?) as u8);
    pairs.iter().map(byte).collect()
}
