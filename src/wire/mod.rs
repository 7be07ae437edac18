//! Bytes of the wire and borrowed views of them.
