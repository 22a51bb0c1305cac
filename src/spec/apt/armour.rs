//! ASCII armour of OpenPGP keys ([RFC 9580, 6.2](https://www.rfc-editor.org/rfc/rfc9580#section-6.2)), which gpgv does not read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// The packets of a keyring: those of all armoured blocks, or the bytes themselves if they are not armoured. None if they are not
/// OpenPGP packets. The checksum of a block is optional, and is not checked: signatures are.
pub(super) fn removed(bytes: Vec<u8>) -> Option<Vec<u8>> {
    // The first byte of a packet has its highest bit set, which no letter has.
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return Some(bytes);
    }
    let text = String::from_utf8(bytes).ok()?;
    let mut packets = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let lines = block.split(END).next().filter(|inner| inner.len() < block.len())?.lines().map(str::trim_end);
        // Headers end with an empty line.
        let body = lines.skip(1).skip_while(|line| !line.is_empty()).filter(|line| !line.is_empty() && !line.starts_with('='));
        packets.extend(STANDARD.decode(body.collect::<String>()).ok()?);
    }
    Some(packets).filter(|packets| !packets.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_decoded_and_joined() {
        let block = |body: &str| format!("{BEGIN}\n\n{body}\n=abcd\n{END}\n").into_bytes();
        assert_eq!(removed(block("mQEN\nBF8=")), Some(b"\x99\x01\x0d\x04\x5f".to_vec()));
        let with_header = format!("words\n{BEGIN}\nComment: x\n\nmQEN\n{END}\n");
        assert_eq!(removed([with_header.clone().into_bytes(), block("BF8=")].concat()), Some(b"\x99\x01\x0d\x04\x5f".to_vec()));
        assert_eq!(removed(with_header.replace('\n', "\r\n").into_bytes()), Some(b"\x99\x01\x0d".to_vec()));
        assert_eq!(removed(b"\x99\x01".to_vec()), Some(b"\x99\x01".to_vec()));
        for bad in ["", "text", BEGIN, &format!("{BEGIN}\n\n%%\n{END}"), &format!("{BEGIN}\n\n{END}")] {
            assert_eq!(removed(bad.as_bytes().to_vec()), None, "{bad}");
        }
    }
}
