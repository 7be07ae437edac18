//! Bugs put in on purpose, to see that the model checks find them: one at a time, which the
//! environment names. Only a build for model checks has them.

/// `seeded!(real, "name" => bug)` is `real`, unless the model checks run with the bug `name`;
/// `seeded!("name" => bug)` is nothing, unless they do.
#[cfg(not(dtls_session_loom))]
macro_rules! seeded {
    ($name:literal => $bug:expr) => {};
    ($real:expr, $name:literal => $bug:expr) => {
        $real
    };
}

#[cfg(dtls_session_loom)]
macro_rules! seeded {
    ($name:literal => $bug:expr) => {
        if $crate::sync::mutant::is_on($name) {
            $bug;
        }
    };
    ($real:expr, $name:literal => $bug:expr) => {
        if $crate::sync::mutant::is_on($name) {
            $bug
        } else {
            $real
        }
    };
}

pub(crate) use seeded;

#[cfg(dtls_session_loom)]
pub(crate) fn is_on(name: &str) -> bool {
    seed() == Some(name)
}

/// The bug that this process runs with.
#[cfg(dtls_session_loom)]
pub(crate) fn seed() -> Option<&'static str> {
    static SEED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    SEED.get_or_init(|| std::env::var("DTLS_SESSION_MUTANT").ok())
        .as_deref()
}
