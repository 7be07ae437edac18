//! The stories of the reference gateway's server, which are told where the server is.
#[path = "../examples/gateway/server/mod.rs"]
mod server;
