//! A secret that both ends know, and the proof of knowing it.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a [`Nonce`].
pub const NONCE_SIZE: usize = 16;
/// Bytes of a [`Proof`].
pub const PROOF_SIZE: usize = 32;

/// What one end makes up for one connection, so that no proof is good for two.
pub type Nonce = [u8; NONCE_SIZE];
/// An HMAC-SHA256.
pub type Proof = [u8; PROOF_SIZE];

const MAX_KEY: usize = 4 << 10;

/// A secret that both ends know. Wiped from memory when dropped.
///
/// Each end proves that it has the key by the nonces of both and the part it plays, so that neither an old proof nor the
/// other end's own will do.
pub struct Key(Zeroizing<Vec<u8>>);

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read.
    #[error("reading key file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, a device or a pipe.
    #[error("key file {} is no plain file", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or change it.
    #[error("key file {} has mode {mode:04o}: others may use it (chmod 600)", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to neither root nor this user.
    #[error("key file {} belongs to user {owner}, who is neither root nor this one", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user it belongs to.
        owner: u32,
    },
    /// Nothing is in it.
    #[error("key file {} has no key in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Too much is in it.
    #[error("key file {} has more than {MAX_KEY} bytes", path.display())]
    Size {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("no random numbers")]
    Random(#[source] getrandom::Error),
}

impl Key {
    /// Reads a key: all bytes of the file but a line's end behind them, up to 4 KiB.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is empty or too large, or others could have read or changed it.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        // A pipe must not make us wait; what was opened is asked, as the path may name something else by then.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(KeyError::Kind { path: path.to_owned() });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Mode { path: path.to_owned(), mode });
        }
        let owner = metadata.uid();
        if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
            return Err(KeyError::Owner { path: path.to_owned(), owner });
        }
        // Room for all of it from the start: a vector that grows would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_KEY + 2));
        file.take(MAX_KEY as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > MAX_KEY {
            return Err(KeyError::Size { path: path.to_owned() });
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() {
            return Err(KeyError::Empty { path: path.to_owned() });
        }
        Ok(Self(bytes))
    }

    /// What the end that plays `role` sends to prove that it has the key.
    #[must_use]
    pub fn proof(&self, role: &[u8], client_nonce: &Nonce, server_nonce: &Nonce) -> Proof {
        self.code(role, client_nonce, server_nonce).finalize().into_bytes().into()
    }

    /// Whether the other end, in its `role`, has the key. Takes as long for a wrong proof as for the right one.
    #[must_use]
    pub fn verify(
        &self,
        role: &[u8],
        client_nonce: &Nonce,
        server_nonce: &Nonce,
        proof: &Proof,
    ) -> bool {
        self.code(role, client_nonce, server_nonce).verify_slice(proof).is_ok()
    }

    fn code(&self, role: &[u8], client_nonce: &Nonce, server_nonce: &Nonce) -> Hmac<Sha256> {
        // Nonces have a fixed size, so what is in front of them is the role and nothing else.
        Hmac::<Sha256>::new_from_slice(&self.0)
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"))
            .chain_update(role)
            .chain_update(client_nonce)
            .chain_update(server_nonce)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A fresh nonce.
///
/// # Errors
///
/// [`KeyError::Random`] where the system has no random numbers.
pub fn nonce() -> Result<Nonce, KeyError> {
    let mut nonce = [0; NONCE_SIZE];
    getrandom::fill(&mut nonce).map_err(KeyError::Random)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key_file(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    fn key(content: &[u8]) -> Key {
        Key::read(key_file(content, 0o600).path()).unwrap()
    }

    #[test]
    fn the_code_is_that_of_rfc_4231() {
        // Test case 4: its data is 50 bytes 0xcd, here a role of 18 and two nonces of 16.
        let bytes: Vec<u8> = (1..=25).collect();
        let expected = [
            0x82, 0x55, 0x8a, 0x38, 0x9a, 0x44, 0x3c, 0x0e, 0xa4, 0xcc, 0x81, 0x98, 0x99, 0xf2,
            0x08, 0x3a, 0x85, 0xf0, 0xfa, 0xa3, 0xe5, 0x78, 0xf8, 0x07, 0x7a, 0x2e, 0x3f, 0xf4,
            0x67, 0x29, 0x66, 0x5b,
        ];
        let nonce = [0xcd; NONCE_SIZE];
        let proof = key(&bytes).proof(&[0xcd; 18], &nonce, &nonce);
        assert_eq!(proof, expected);
    }

    #[test]
    fn a_proof_is_good_for_one_role_and_one_pair_of_nonces() {
        let key_here = key(b"secret\n");
        let (client, server) = (nonce().unwrap(), nonce().unwrap());
        let proof = key_here.proof(b"client", &client, &server);
        assert!(key(b"secret").verify(b"client", &client, &server, &proof));
        assert!(!key_here.verify(b"server", &client, &server, &proof));
        assert!(!key_here.verify(b"client", &server, &client, &proof));
        assert!(!key(b"Secret").verify(b"client", &client, &server, &proof));
        let mut changed = proof;
        changed[31] ^= 1;
        assert!(!key_here.verify(b"client", &client, &server, &changed));
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(nonce().unwrap(), nonce().unwrap());
    }

    #[test]
    fn a_file_that_others_may_use_is_refused() {
        for mode in [0o604, 0o640, 0o602] {
            let error = Key::read(key_file(b"secret", mode).path()).unwrap_err();
            assert!(
                matches!(error, KeyError::Mode { mode: found, .. } if found == mode),
                "{error}"
            );
        }
        assert!(Key::read(key_file(b"secret", 0o400).path()).is_ok());
    }

    #[test]
    fn a_file_without_a_key_is_refused() {
        for content in [&b""[..], b"\n", b"\r\n"] {
            let error = Key::read(key_file(content, 0o600).path()).unwrap_err();
            assert!(matches!(error, KeyError::Empty { .. }), "{error}");
        }
        assert!(Key::read(key_file(&[7; MAX_KEY], 0o600).path()).is_ok());
        let error = Key::read(key_file(&[7; MAX_KEY + 1], 0o600).path()).unwrap_err();
        assert!(matches!(error, KeyError::Size { .. }), "{error}");
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Key::read(dir.path()), Err(KeyError::Kind { .. })));
        assert!(matches!(Key::read(&dir.path().join("none")), Err(KeyError::Io { .. })));
    }

    #[test]
    fn a_key_does_not_print() {
        assert_eq!(format!("{:?}", key(b"secret")), "Key(..)");
    }
}
