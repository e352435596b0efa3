//! Both sides show that they know a key, and neither tells it.

use std::fmt;
use std::sync::Arc;

/// A number that is used once.
pub type Nonce = [u8; 16];

/// What only who knows the key can make.
pub type Proof = [u8; 32];

/// Makes a proof: the key's HMAC-SHA256 of a role, the recorder's nonce and the listener's.
pub type Prove = Arc<dyn Fn(&[u8], &Nonce, &Nonce) -> Proof + Send + Sync>;

/// A pre-shared key for one session.
#[derive(Clone)]
pub struct SessionKey {
    /// The key.
    pub prove: Prove,
    /// This side's nonce: random, and never used for another session.
    pub nonce: Nonce,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").finish_non_exhaustive()
    }
}

// All roles are 8 bytes long, so that none is the beginning of another.
const LISTENER: &[u8; 8] = b"listener";
const RECORDER: &[u8; 8] = b"recorder";
const DATA: &[u8; 4] = b"data";

/// The option word that asks a listener for its proof.
pub(super) const WORD: &str = "key=";

/// A key and the nonces of both sides.
#[derive(Clone)]
pub(super) struct KeyedSession {
    pub(super) prove: Prove,
    pub(super) recorder_nonce: Nonce,
    pub(super) listener_nonce: Nonce,
}

impl KeyedSession {
    pub(super) fn listener_proof(&self) -> Proof {
        self.proof(LISTENER)
    }

    pub(super) fn recorder_proof(&self) -> Proof {
        self.proof(RECORDER)
    }

    /// What a data connection starts with.
    pub(super) fn data_token(&self, stream: u32) -> Proof {
        let mut role = [0; 8];
        let (name, number) = role.split_at_mut(DATA.len());
        name.copy_from_slice(DATA);
        number.copy_from_slice(&stream.to_be_bytes());
        self.proof(&role)
    }

    pub(super) fn proof(&self, role: &[u8; 8]) -> Proof {
        (self.prove)(role, &self.recorder_nonce, &self.listener_nonce)
    }
}

impl fmt::Debug for KeyedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedSession").finish_non_exhaustive()
    }
}

/// Whether both are the same, in a time that does not tell where they differ.
#[must_use]
pub fn same_proof(a: &Proof, b: &Proof) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// `key=HEX`.
pub(super) fn word(nonce: &Nonce) -> String {
    let mut word = WORD.to_owned();
    for byte in nonce {
        word.push_str(&format!("{byte:02x}"));
    }
    word
}

/// The nonce in HEX, or none.
pub(super) fn parse_nonce(hex: &str) -> Option<Nonce> {
    let mut nonce = Nonce::default();
    if hex.len() != 2 * nonce.len() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in nonce.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_of_a_proof_counts() {
        let proof: Proof = std::array::from_fn(|at| at as u8);
        assert!(same_proof(&proof, &proof.clone()));
        for bit in 0..proof.len() * 8 {
            let mut other = proof;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same_proof(&proof, &other), "bit {bit}");
        }
        assert!(!same_proof(&proof, &proof.map(|byte| !byte)));
    }

    #[test]
    fn sessions_do_not_print_their_key() {
        let prove: Prove = Arc::new(|_, _, _| [0xa5; 32]);
        let key = SessionKey { prove, nonce: [0x5a; 16] };
        assert_eq!(format!("{key:?}"), "SessionKey { .. }");
    }

    #[test]
    fn a_nonce_goes_as_hex() {
        let nonce = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 254, 255];
        assert_eq!(word(&nonce), "key=000102030405060708090a0b0c0dfeff");
        assert_eq!(parse_nonce("000102030405060708090a0b0c0dfeff"), Some(nonce));
        for bad in ["", "00", "+00102030405060708090a0b0c0dfeff", &"é".repeat(16)] {
            assert_eq!(parse_nonce(bad), None, "{bad}");
        }
    }
}
