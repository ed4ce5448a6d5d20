//! What is sent with a call beside its message.

use std::fmt;

use grpcio::{Error, Metadata, MetadataBuilder};

/// The metadata of a call that is to be made. Values are in no log line and no error.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Headers(Vec<(String, HeaderValue)>);

#[derive(Clone, PartialEq, Eq)]
enum HeaderValue {
    Text(String),
    Bytes(Vec<u8>),
}

impl Headers {
    /// Adds a text.
    ///
    /// # Errors
    /// If gRPC does not take the key or the value.
    pub(super) fn add(&mut self, key: &str, value: &str) -> Result<(), Error> {
        self.put(key, HeaderValue::Text(value.to_owned()))
    }

    /// Adds bytes; the key ends with `-bin`.
    ///
    /// # Errors
    /// If gRPC does not take the key.
    pub(super) fn add_bytes(&mut self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.put(key, HeaderValue::Bytes(value.to_vec()))
    }

    fn put(&mut self, key: &str, value: HeaderValue) -> Result<(), Error> {
        if key.to_ascii_lowercase().starts_with("grpc-") {
            return Err(Error::InvalidMetadata(format!("{key} is gRPC's own")));
        }
        write(&mut MetadataBuilder::new(), key, &value).map_err(|error| match error {
            Error::InvalidMetadata(rule) => Error::InvalidMetadata(format!("{key:?}: {rule}")),
            other => other,
        })?;
        self.0.push((key.to_owned(), value));
        Ok(())
    }

    /// Whether this text is among them.
    pub(super) fn has(&self, key: &str, value: &str) -> bool {
        let is_it = |one: &HeaderValue| matches!(one, HeaderValue::Text(text) if text == value);
        self.0.iter().any(|(name, one)| name == key && is_it(one))
    }

    /// As gRPC takes it, if there is any.
    pub(super) fn build(&self) -> Option<Metadata> {
        if self.0.is_empty() {
            return None;
        }
        let mut builder = MetadataBuilder::with_capacity(self.0.len());
        for (key, value) in &self.0 {
            // Each was written before.
            let _ = write(&mut builder, key, value);
        }
        Some(builder.build())
    }
}

fn write(builder: &mut MetadataBuilder, key: &str, value: &HeaderValue) -> Result<(), Error> {
    match value {
        HeaderValue::Text(text) => builder.add_str(key, text).map(drop),
        HeaderValue::Bytes(bytes) => builder.add_bytes(key, bytes).map(drop),
    }
}

/// The keys alone: a value may be a secret.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grpc_does_not_take_is_refused_and_values_are_not_shown() {
        let mut headers = Headers::default();
        headers.add("token", "secret").unwrap();
        headers.add_bytes("key-bin", &[0, 255]).unwrap();
        for (key, value) in [("grpc-timeout", "1"), ("a b", "1"), ("a", "ä"), ("a-bin", "1")] {
            assert!(headers.add(key, value).is_err(), "{key}");
        }
        assert!(headers.add_bytes("key", &[1]).is_err());
        assert_eq!(format!("{headers:?}"), r#"["token", "key-bin"]"#);
        assert_eq!(headers.build().unwrap().len(), 2);
        assert!(Headers::default().build().is_none());
    }
}
