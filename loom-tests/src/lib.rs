//! Model checks of `dtls-session`.
