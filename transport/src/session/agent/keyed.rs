//! The roles of a key between host and agent; others than between recorder and listener, so that no proof of one pair
//! is of use with the other.

use super::super::key::KeyedSession;
use super::super::{Nonce, Proof, Prove};

const AGENT: &[u8; 8] = b"agent\0\0\0";
const HOST: &[u8; 8] = b"agtshost";
const DATA: &[u8; 4] = b"agdt";

/// The stream number of the time sync connection's token.
pub(super) const SYNC_STREAM: u32 = u32::MAX;

/// A key and the nonces of both sides.
#[derive(Debug, Clone)]
pub(super) struct Keyed(KeyedSession);

impl Keyed {
    pub(super) fn new(prove: Prove, host: Nonce, agent: Nonce) -> Self {
        Self(KeyedSession { prove, recorder_nonce: host, listener_nonce: agent })
    }

    pub(super) fn agent_proof(&self) -> Proof {
        self.0.proof(AGENT)
    }

    pub(super) fn host_proof(&self) -> Proof {
        self.0.proof(HOST)
    }

    /// What a data connection starts with.
    pub(super) fn data_token(&self, stream: u32) -> Proof {
        let mut role = [0; 8];
        let (name, number) = role.split_at_mut(DATA.len());
        name.copy_from_slice(DATA);
        number.copy_from_slice(&stream.to_be_bytes());
        self.0.proof(&role)
    }
}
