//! The rules of the path manager about subflows: which ones a host opens and accepts, and how.

pub(super) mod accept;
pub(super) mod address_id;
pub(super) mod announced;
pub(super) mod backup;
pub(super) mod device;
pub(super) mod doubles;
pub(super) mod endpoint;
pub(super) mod facts;
pub(super) mod fallback;
pub(super) mod handshake;
pub(super) mod implicit;
pub(super) mod limit;
pub(super) mod reach;
pub(super) mod reason;
pub(super) mod reopened;
pub(super) mod shown;
pub(super) mod userspace;

#[cfg(test)]
mod tests;
