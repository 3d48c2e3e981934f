//! The digests that can be made, and their form.

use sha2::{Digest as _, Sha256};

/// A digest that `--checksum` can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DigestAlgorithm {
    /// SHA-256, as sha256sum(1) makes it.
    #[default]
    Sha256,
    /// BLAKE3, as b3sum(1) makes it.
    Blake3,
}

impl DigestAlgorithm {
    /// Returns the name that `--checksum` and `--json` use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
        }
    }
}

/// The digest of the content of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The algorithm that made it.
    pub algorithm: DigestAlgorithm,
    /// The digest in hexadecimal, with small letters.
    pub hex: String,
}

/// A digest that is being made.
#[derive(Debug)]
pub(in crate::transfer) enum Hasher {
    /// The state of a digest by SHA-256.
    Sha256(Sha256),
    /// The state of BLAKE3, which is large.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Begins a digest of no bytes.
    pub(in crate::transfer) fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            DigestAlgorithm::Blake3 => Self::Blake3(Box::default()),
        }
    }

    /// Adds bytes behind those that were added before.
    pub(in crate::transfer) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Blake3(state) => {
                state.update(bytes);
            }
        }
    }

    /// Adds zeros, as those of a hole.
    pub(in crate::transfer) fn update_zeros(&mut self, mut count: u64) {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while count > 0 {
            let len = count.min(ZEROS.len() as u64);
            self.update(&ZEROS[..len as usize]);
            count -= len;
        }
    }

    /// Returns the digest of all bytes so far.
    pub(in crate::transfer) fn digest(&self) -> Digest {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        match self {
            Self::Sha256(state) => Digest {
                algorithm: DigestAlgorithm::Sha256,
                hex: hex(&state.clone().finalize()),
            },
            Self::Blake3(state) => Digest {
                algorithm: DigestAlgorithm::Blake3,
                hex: hex(state.finalize().as_bytes()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests of no bytes and of "abc", from FIPS 180-4 and from the reference of BLAKE3.
    #[test]
    fn known_digests_come_out() {
        let table = [
            (
                DigestAlgorithm::Sha256,
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                DigestAlgorithm::Blake3,
                "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
                "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            ),
        ];
        for (algorithm, empty, abc) in table {
            let mut hasher = Hasher::new(algorithm);
            assert_eq!(hasher.digest().hex, empty, "{algorithm:?}");
            hasher.update(b"ab");
            hasher.update(b"c");
            assert_eq!(hasher.digest().hex, abc, "{algorithm:?}");
        }
    }

    #[test]
    fn zeros_are_hashed_as_bytes_are() {
        for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Blake3] {
            let (mut zeros, mut bytes) = (Hasher::new(algorithm), Hasher::new(algorithm));
            zeros.update_zeros(200_001);
            bytes.update(&vec![0; 200_001]);
            assert_eq!(zeros.digest(), bytes.digest(), "{algorithm:?}");
        }
    }
}
