//! Handmade Debian packages, hostile ones too.

/// An archive of these members: name, type, target of a link.
pub fn tar(members: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, target) in members {
        let mut header = tar::Header::new_gnu();
        // Written past the library, which refuses names that are hostile.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        let body = if *kind == tar::EntryType::Regular { "#!/bin/sh\n" } else { "" };
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_size(body.len() as u64);
        header.set_cksum();
        archive.append(&header, body.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A Debian package as deb(5) has it.
pub fn deb(control: &str, data: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(control.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "control", control.as_bytes()).unwrap();
    let control = archive.into_inner().unwrap();
    let mut file = b"!<arch>\n".to_vec();
    for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar", data)] {
        file.extend_from_slice(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len()).as_bytes());
        file.extend_from_slice(bytes);
        file.resize(file.len().next_multiple_of(2), b'\n');
    }
    file
}
