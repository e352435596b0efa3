//! Tracing of virtual machines from their host, over plain virtio-serial.

pub mod client;
pub mod host;
pub mod identity;
#[cfg(feature = "lab")]
pub mod lab;
mod out_queue;
pub mod protocol;
pub mod server;
pub mod setup;
pub mod stop;
pub mod time_sync;
