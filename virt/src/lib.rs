//! Tracing of virtual machines from their host, over plain virtio-serial.

pub mod client;
pub mod host;
#[cfg(feature = "lab")]
pub mod lab;
pub mod server;
pub mod setup;
pub mod stop;
pub mod time_sync;
