//! Audits one file before it is in an image.

use std::io::{self, Read};

use super::scan::{Hit, Scanner};
use super::{Finding, rules, unpack, unseen};
use crate::common::error::{Error, Result};
use crate::common::value::{Cancel, TreePath};

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// Opens a file at its beginning; called several times.
pub(super) type Open<'a> = &'a dyn Fn() -> io::Result<Box<dyn Read + 'a>>;

/// The findings for a file of `size` bytes at `path`: by its path, by its contents, and by its unpacked contents. They name no
/// partition.
///
/// # Errors
/// Errors of `open`; an interruption.
pub(crate) fn audit_file(path: &TreePath, size: u64, open: Open<'_>, cancel: &Cancel) -> Result<Vec<Finding>> {
    let failed = |e: &io::Error| Error::io(format_args!("read {path}"), e);
    let reader = || open().map_err(|e| failed(&e));
    let mut head = Vec::new();
    reader()?.take(rules::HEAD as u64).read_to_end(&mut head).map_err(|e| failed(&e))?;
    let found = |kind, what: String, place: String| Finding {
        kind,
        what,
        partition: String::new(),
        path: Some(path.to_string()),
        place,
        allowed: false,
    };
    let mut findings = Vec::new();
    if let Some((kind, what)) = rules::of_file(path.as_bytes(), size, &head) {
        findings.push(found(kind, what.into(), String::new()));
    }
    let mut hits = Vec::new();
    scan(&mut *reader()?, cancel, &mut |hit| hits.push(hit)).map_err(|e| failed(&e))?;
    findings.extend(hits.drain(..).map(|hit| found(hit.secret.kind, hit.secret.what.clone(), place(&hit))));
    if unpack::is_packed(&head) {
        let outcome = unpack::scan_from(reader()?, size, cancel, &mut |hit| hits.push(hit));
        let outcome = outcome.or_else(|error| error.broken().map(Err))?;
        findings.extend(outcome.err().map(|why| unseen("", Some(path.to_string()), why)));
        let place = |hit: &Hit| format!("{} of its unpacked contents", place(hit));
        findings.extend(hits.drain(..).map(|hit| found(hit.secret.kind, hit.secret.what.clone(), place(&hit))));
    }
    Ok(findings)
}

fn scan(reader: &mut dyn Read, cancel: &Cancel, found: &mut dyn FnMut(Hit)) -> io::Result<()> {
    let mut scanner = Scanner::new(0);
    let mut buffer = vec![0; CHUNK];
    loop {
        cancel.check()?;
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => scanner.push(&buffer[..n], found),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    scanner.finish(found);
    Ok(())
}

fn place(hit: &Hit) -> String {
    hit.line.map_or_else(|| format!("byte {}", hit.offset), |line| format!("line {line}"))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn kinds(path: &str, bytes: &[u8]) -> Vec<Kind> {
        let open = || Ok(Box::new(bytes) as Box<dyn Read>);
        let findings = audit_file(&TreePath::fixed(path), bytes.len() as u64, &open, &Cancel::new()).unwrap();
        findings.iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn a_file_is_judged_before_it_is_in_an_image() {
        let key = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n";
        assert_eq!(kinds("opt/a", b"nothing"), []);
        assert_eq!(kinds("etc/nvme/hostid", b"1"), [Kind::Identity], "by its path");
        assert_eq!(kinds("opt/a", key), [Kind::PrivateKey], "by its contents");
        assert_eq!(kinds("opt/a.zst", &zstd::encode_all(&key[..], 1).unwrap()), [Kind::PrivateKey], "by its unpacked contents");
        assert_eq!(kinds("opt/a.gz", b"\x1f\x8b\x08cut"), [Kind::Unseen]);
    }
}
