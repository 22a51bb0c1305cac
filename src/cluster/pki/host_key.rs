//! The nodes' SSH host keys: Ed25519, in the format of OpenSSH's own files.
//!
//! The format is PROTOCOL.key of OpenSSH's sources, unencrypted: a header, the public key, and a private part that repeats it.

use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use super::pem;
use crate::common::error::{Error, Result};

/// The key type, as RFC 8709 section 3 names it.
const KIND: &[u8] = b"ssh-ed25519";
/// The magic bytes at the start of OpenSSH's private key files.
const MAGIC: &[u8] = b"openssh-key-v1\0";
const LABEL: &str = "OPENSSH PRIVATE KEY";
/// The block size that the private part of an unencrypted key is padded to, in bytes.
const BLOCK: usize = 8;
/// PKCS#8 of an Ed25519 key (RFC 8410 section 7, RFC 5958 section 2, version 2) around its two halves.
const PKCS8: [&[u8]; 2] = [&[0x30, 0x51, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20], &[0x81, 0x21, 0]];
const HALF: usize = 32;

/// The accepted keys, for messages.
pub(super) const TAKEN: &str = "an unencrypted Ed25519 key as `ssh-keygen -t ed25519` writes it";

/// A node's SSH host key. Not `Clone`; the private half does not print.
#[derive(Debug)]
pub struct HostKey {
    private: SecretString,
    public: String,
}

impl HostKey {
    /// Generates a key. `comment` identifies the file for people.
    pub(super) fn generate(comment: &str) -> Result<HostKey> {
        let failed = || Error::internal("the system provides no random numbers for a new host key");
        let mut pair = KeyPair::generate_for(&PKCS_ED25519).map_err(|_| failed())?;
        let key = seed(pair.serialized_der()).and_then(|seed| Some(write(&seed, pair.der_bytes().try_into().ok()?, comment)));
        pair.zeroize();
        key.ok_or_else(failed)
    }

    /// Parses a private file of OpenSSH's.
    ///
    /// # Errors
    /// Words that follow the file's name and repeat none of its text.
    pub(super) fn parse(text: SecretString) -> Result<HostKey, &'static str> {
        let blocks = pem::blocks(text.expose_secret())?;
        let [block] = blocks.as_slice() else { return Err("is not an OpenSSH private key") };
        if block.label != LABEL {
            return Err("is not an OpenSSH private key");
        }
        let public = public_of(block.der.expose_secret()).ok_or("is encrypted, damaged, or of a kind that kbake does not take")?;
        let line = line(&public);
        // The text goes into a seed as it is, without anything around the key.
        let private = pem::private(LABEL, block.der.expose_secret());
        Ok(HostKey { private, public: line })
    }

    /// The private half, in OpenSSH's format.
    pub fn private(&self) -> &SecretString {
        &self.private
    }

    /// The public half: type and key, without a comment.
    pub fn public(&self) -> &str {
        &self.public
    }
}

/// The private number in a PKCS#8 document of any version.
fn seed(der: &[u8]) -> Option<SecretSlice<u8>> {
    let mark = &PKCS8[0][PKCS8[0].len() - 4..];
    let at = der.windows(mark.len()).position(|window| window == mark)? + mark.len();
    Some(SecretSlice::from(der.get(at..at + HALF)?.to_vec()))
}

fn write(seed: &SecretSlice<u8>, public: [u8; HALF], comment: &str) -> HostKey {
    let blob = blob(&public);
    // With room for all of it: a buffer that grows leaves copies behind.
    let mut part = Vec::with_capacity(512);
    // Two equal numbers, by which readers notice a wrong password; there is none.
    part.extend([&public[..4], &public[..4]].concat());
    part.extend(string(KIND));
    part.extend(string(&public));
    part.extend(((2 * HALF) as u32).to_be_bytes());
    part.extend_from_slice(seed.expose_secret());
    part.extend_from_slice(&public);
    part.extend(string(comment.as_bytes()));
    let padding = part.len().next_multiple_of(BLOCK) - part.len();
    part.extend((1..=padding).map(|n| n as u8));
    let mut whole = Vec::with_capacity(MAGIC.len() + 64 + blob.len() + part.len());
    whole.extend_from_slice(MAGIC);
    whole.extend([string(b"none"), string(b"none"), string(b""), 1u32.to_be_bytes().to_vec(), string(&blob)].concat());
    whole.extend((part.len() as u32).to_be_bytes());
    whole.extend_from_slice(&part);
    part.zeroize();
    let whole = SecretSlice::from(whole);
    HostKey { private: pem::private(LABEL, whole.expose_secret()), public: line(&public) }
}

/// The public key of a private file, if its halves match.
fn public_of(bytes: &[u8]) -> Option<[u8; HALF]> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let head = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?];
    if head != [&b"none"[..], b"none", b""] || number(&mut rest)? != 1 {
        return None;
    }
    let (blob_found, mut part) = (take(&mut rest)?, take(&mut rest)?);
    if !rest.is_empty() || number(&mut part)? != number(&mut part)? || take(&mut part)? != KIND {
        return None;
    }
    let public: [u8; HALF] = take(&mut part)?.try_into().ok()?;
    let both = take(&mut part)?;
    if both.len() != 2 * HALF || both[HALF..] != public || blob_found != blob(&public) {
        return None;
    }
    // The library accepts the pair only if the private half yields the public one.
    let mut der = Vec::with_capacity(PKCS8[0].len() + PKCS8[1].len() + 2 * HALF);
    der.extend([PKCS8[0], &both[..HALF], PKCS8[1], &public].concat());
    let pair = KeyPair::try_from(der.as_slice());
    der.zeroize();
    let mut pair = pair.ok()?;
    let same = pair.der_bytes() == public;
    pair.zeroize();
    same.then_some(public)
}

fn line(public: &[u8; HALF]) -> String {
    format!("{} {}", String::from_utf8_lossy(KIND), pem::to_base64(&blob(public)))
}

/// A public key in wire format (RFC 8709 section 4).
fn blob(public: &[u8; HALF]) -> Vec<u8> {
    [string(KIND), string(public)].concat()
}

/// A string in wire format (RFC 4251 section 5).
fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_be_bytes(*head))
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)? as usize;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::common::fsx;

    #[test]
    fn openssh_reads_the_key_and_finds_the_same_public_half() {
        let dir = tempfile::tempdir().unwrap();
        for comment in ["", "a", "etcd0", "a-node-with-a-long-name", "12345678"] {
            let key = HostKey::generate(comment).unwrap();
            let path = dir.path().join("key");
            fsx::write_atomic(&path, 0o600, key.private().expose_secret().as_bytes()).unwrap();
            let output = Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&path).output();
            let output = output.unwrap_or_else(|e| panic!("ssh-keygen is missing: run tests/setup.sh ({e})"));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.trim_end().starts_with(key.public()), "{comment}: {said}");
            assert_eq!(HostKey::parse(key.private().expose_secret().to_owned().into()).unwrap().public(), key.public());
        }
    }

    #[test]
    fn a_key_that_openssh_made_is_taken_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str, args: &[&str]| {
            let path = dir.path().join(name);
            let done = Command::new("ssh-keygen").args(["-q", "-C", "mine"]).args(args).arg("-f").arg(&path).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            let public = fsx::read_to_string(&path.with_extension("pub")).unwrap();
            (HostKey::parse(fsx::read_to_string(&path).unwrap().into()), public)
        };
        let (key, public) = made("good", &["-t", "ed25519", "-N", ""]);
        assert_eq!(format!("{} mine\n", key.unwrap().public()), public);
        for (name, args) in
            [("password", ["-t", "ed25519", "-N", "secret"]), ("rsa", ["-t", "rsa", "-N", ""]), ("ec", ["-t", "ecdsa", "-N", ""])]
        {
            assert!(made(name, &args).0.is_err(), "{name}");
        }
    }

    #[test]
    fn halves_of_two_keys_are_no_key() {
        let [one, two] = [(); 2].map(|()| KeyPair::generate_for(&PKCS_ED25519).unwrap());
        let mixed = write(&seed(one.serialized_der()).unwrap(), two.der_bytes().try_into().unwrap(), "mixed");
        assert!(HostKey::parse(mixed.private).is_err());
        assert!(
            HostKey::parse("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n".to_owned().into())
                .is_err()
        );
    }
}
