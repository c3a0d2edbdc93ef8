//! Machine code, and the seal under which it is kept.

use sha2::{Digest as _, Sha256};

/// Bytes of a key, and of a seal.
pub(super) const SEAL: usize = 32;

/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;

/// Machine code made by our compiler. A value of this type may be executed.
pub(crate) struct Artefact {
    bytes: Vec<u8>,
    /// Where the code begins: a seal may stand before it.
    from: usize,
}

impl Artefact {
    /// Machine code that our compiler has just made.
    pub(super) fn made(code: Vec<u8>) -> Self {
        Self {
            bytes: code,
            from: 0,
        }
    }

    /// Machine code from the cache under this name; none when the seal does not match.
    pub(super) fn unseal(key: &[u8; SEAL], name: &str, kept: Vec<u8>) -> Option<Self> {
        let (seal, code) = kept.split_first_chunk::<SEAL>()?;
        (*seal == mac(key, name, code)).then_some(Self {
            bytes: kept,
            from: SEAL,
        })
    }

    /// The seal for this name, to be stored before the code.
    pub(super) fn seal(&self, key: &[u8; SEAL], name: &str) -> [u8; SEAL] {
        mac(key, name, self.code())
    }

    /// The code.
    pub(crate) fn code(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }
}

/// HMAC-SHA-256 over name and code. Names have no zero byte, so that it is clear where the code
/// begins.
fn mac(key: &[u8; SEAL], name: &str, code: &[u8]) -> [u8; SEAL] {
    hmac(key, &[name.as_bytes(), &[0], code])
}

fn hmac(key: &[u8; SEAL], message: &[&[u8]]) -> [u8; SEAL] {
    let padded = |with: u8| {
        let mut block = [with; BLOCK];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        Sha256::new_with_prefix(block)
    };
    let mut inner = padded(0x36);
    for part in message {
        inner.update(part);
    }
    let mut outer = padded(0x5c);
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_seal_is_hmac_sha_256() {
        // RFC 4231, test case 1: a key of 20 bytes is padded with zeroes.
        let mut key = [0; SEAL];
        key[..20].fill(0x0b);
        let hex: String = hmac(&key, &[b"Hi ", b"There"])
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn only_what_was_sealed_under_this_name_with_this_key_is_unsealed() {
        let (key, made) = ([7; SEAL], Artefact::made(b"machine code".to_vec()));
        let mut kept = made.seal(&key, "one").to_vec();
        kept.extend(made.code());
        let unseal = |key, name, kept: &[u8]| Artefact::unseal(key, name, kept.to_vec());
        assert_eq!(unseal(&key, "one", &kept).unwrap().code(), made.code());
        assert!(unseal(&key, "two", &kept).is_none());
        assert!(unseal(&[8; SEAL], "one", &kept).is_none());
        for at in 0..kept.len() {
            let mut damaged = kept.clone();
            damaged[at] ^= 1;
            assert!(unseal(&key, "one", &damaged).is_none(), "byte {at}");
            assert!(unseal(&key, "one", &kept[..at]).is_none(), "cut at {at}");
        }
        assert!(unseal(&key, "one", &[]).is_none());
    }
}
