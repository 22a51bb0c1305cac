//! Archives built by hand, byte by byte.

/// The end marker.
pub(crate) const END: [u8; 1024] = [0; 1024];

/// Sets the checksum.
pub(crate) fn sum(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A GNU header, mode 0644, owner 0:0, time 1.
pub(crate) fn header(name: &[u8], typeflag: u8, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    let octal = format!("{size:011o}\0");
    let parts: [(usize, &[u8]); 6] = [
        (100, b"0000644\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, octal.as_bytes()),
        (136, b"00000000001\0"),
        (257, b"ustar  \0"),
    ];
    for (at, bytes) in parts {
        block[at..at + bytes.len()].copy_from_slice(bytes);
    }
    block[156] = typeflag;
    sum(block)
}

/// A header with some bytes replaced, and the right checksum.
pub(crate) fn with(mut block: [u8; 512], parts: &[(usize, &[u8])]) -> [u8; 512] {
    for (at, bytes) in parts {
        block[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    sum(block)
}

/// Pads bytes to whole blocks.
pub(crate) fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    all.resize(bytes.len().next_multiple_of(512), 0);
    all
}

/// An entry with a link target and contents.
pub(crate) fn entry(name: &[u8], typeflag: u8, link: &[u8], contents: &[u8]) -> Vec<u8> {
    let head = with(header(name, typeflag, contents.len() as u64), &[(157, link)]);
    [&head[..], &padded(contents)].concat()
}

/// A regular file.
pub(crate) fn file(name: &[u8], contents: &[u8]) -> Vec<u8> {
    entry(name, b'0', b"", contents)
}

/// A folder.
pub(crate) fn folder(name: &[u8]) -> Vec<u8> {
    with(header(name, b'5', 0), &[(100, b"0000755\0")]).to_vec()
}

/// GNU's long name (`L`) or long link (`K`).
pub(crate) fn long(typeflag: u8, name: &[u8]) -> Vec<u8> {
    entry(b"././@LongLink", typeflag, b"", name)
}

/// An extended header for the next entry.
pub(crate) fn pax(records: &[Vec<u8>]) -> Vec<u8> {
    entry(b"PaxHeaders/x", b'x', b"", &records.concat())
}

/// A record of an extended header.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let digits = (1..).find(|digits| (body + digits).to_string().len() == *digits).unwrap();
    [format!("{} {key}=", body + digits).as_bytes(), value, b"\n"].concat()
}
