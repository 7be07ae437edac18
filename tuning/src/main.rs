//! Measures this machine.
fn main() {}
