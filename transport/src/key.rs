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
