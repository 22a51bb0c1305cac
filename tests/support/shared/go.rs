//! Handmade Go programs: nothing but build information in an ELF file.

/// A program with one writable segment that holds `data`, behind `before` other bytes.
pub fn elf(before: usize, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 120 + before];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, value: u64, len: usize| bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    let offset = (120 + before) as u64;
    for (at, value, len) in
        [(32, 64, 8), (54, 56, 2), (56, 1, 2), (64, 1, 4), (68, 6, 4), (72, offset, 8), (80, offset, 8), (96, data.len() as u64, 8)]
    {
        put(at, value, len);
    }
    [bytes, data.to_vec()].concat()
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Build information in the form since Go 1.18.
pub fn info(go: &str, modules: &str) -> Vec<u8> {
    let framed = format!("{0}{modules}{0}", "m".repeat(16));
    let mut bytes = b"\xff Go buildinf:\x08\x02".to_vec();
    bytes.resize(32, 0);
    for text in [go, &framed] {
        bytes.extend(varint(text.len()));
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// A Go program with this text about its modules.
pub fn go_program(modules: &str) -> Vec<u8> {
    aligned(0, &info("go1.26.8", modules))
}

/// A Go program in the older form, which cannot be read.
pub fn old_go_program() -> Vec<u8> {
    aligned(0, &[&b"\xff Go buildinf:\x08\x00"[..], &[0; 16]].concat())
}

/// `data` at the next address that is a multiple of 16.
pub fn aligned(before: usize, data: &[u8]) -> Vec<u8> {
    elf(before, &[vec![0; (120 + before).next_multiple_of(16) - 120 - before], data.to_vec()].concat())
}
