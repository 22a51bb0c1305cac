//! Bundles: of kbake's own form only, to the last byte.

use kbake::Class;
use kbake::bundle::{self, Bytes, Outline, Part, Taken, Visitor};
use kbake::report::Silent;
use kbake::value::{Cancel, Sha256};
use kbake::verify_bundle;

use super::row::{Expect, MEMORY, Place, Row, Seen};
use super::seeds::build::{END, entry, file, long, padded, pax, record, sum, with};
use super::seeds::{BLOB, BUNDLE_CONFIG, BUNDLE_INDEX, BUNDLE_MANIFEST, bundle_file, bundle_header, bundle_of, described, gzip};

/// Puts blobs into the store, as an import does.
struct IntoStore<'a>(&'a Place, Seen);

impl Visitor for IntoStore<'_> {
    fn outline(&mut self, outline: &Outline) -> kbake::Result<()> {
        self.1.push(format!("{} contents, {} blobs", outline.contents().len(), outline.entries().len()));
        Ok(())
    }

    fn blob(&mut self, part: &Part, bytes: &mut Bytes<'_>) -> kbake::Result<Taken> {
        let mut writer = self.0.store.writer(None, Some(part.size))?;
        bytes.each(&mut |piece| writer.put(piece))?;
        Ok(Taken::Hashed(writer.commit()?.digest))
    }
}

fn read(bytes: &[u8], place: &Place) -> kbake::Result<Seen> {
    let mut visitor = IntoStore(place, Vec::new());
    bundle::read(&mut &*bytes, &mut visitor)?;
    Ok(visitor.1)
}

/// Hashes blobs, and keeps nothing.
struct Hash;

impl Visitor for Hash {
    fn outline(&mut self, _: &Outline) -> kbake::Result<()> {
        Ok(())
    }

    fn blob(&mut self, _: &Part, bytes: &mut Bytes<'_>) -> kbake::Result<Taken> {
        bytes.hash(&mut |_| Ok(()))
    }
}

/// Reads as `kbake bundle verify`: as an import does, and also the descriptions of roles and of files to write.
fn verify(bytes: &[u8], _: &Place) -> kbake::Result<Seen> {
    let (outline, _) = verify_bundle(&mut &*bytes, None, &Silent, &Cancel::new())?;
    Ok(vec![format!("{} parts", outline.contents()[0].parts.len())])
}

/// A bundle with a file of the project by this name beside the plan.
fn project_file(name: &'static str, title: &'static str) -> Row {
    let layer = r#"{"mediaType":"application/vnd.kbake.project-file.v1","digest":"sha256:@B@","size":@BS@,"annotations":{"org.opencontainers.image.title":"TITLE"}}"#;
    let make = move || {
        let manifest = BUNDLE_MANIFEST.replace("\"layers\":[", &format!("\"layers\":[{},", layer.replace("TITLE", title)));
        bundle_of(BUNDLE_INDEX, &manifest, &described())
    };
    Row { read: Box::new(verify), ..row(name, make, &["a file of its project", title]) }
}

/// A bundle that says something else of its role.
fn description(name: &'static str, from: &'static str, to: &'static str, words: &[&str]) -> Row {
    let make = move || bundle_of(BUNDLE_INDEX, BUNDLE_MANIFEST, &described().replacen(from, to, 1));
    Row { read: Box::new(verify), ..row(name, make, words) }
}

fn row(name: &'static str, make: impl FnOnce() -> Vec<u8> + 'static, words: &[&str]) -> Row {
    let words = [&["bundle"], words].concat().iter().map(|word| (*word).to_owned()).collect();
    Row { name, make: Box::new(make), read: Box::new(read), expect: Expect::Refused(Class::Integrity, words), memory: MEMORY }
}

/// A row whose file is no bundle at all: a user's mistake, not an attack.
fn foreign(row: Row) -> Row {
    let Expect::Refused(_, words) = row.expect else { unreachable!("it is refused") };
    Row { expect: Expect::Refused(Class::User, words), ..row }
}

fn sound() -> Vec<u8> {
    bundle_of(BUNDLE_INDEX, BUNDLE_MANIFEST, BUNDLE_CONFIG)
}

/// A bundle whose index is another.
fn index(name: &'static str, from: &'static str, to: impl Into<String>, words: &[&str]) -> Row {
    let to = to.into();
    assert!(BUNDLE_INDEX.contains(from));
    row(name, move || bundle_of(&BUNDLE_INDEX.replace(from, &to), BUNDLE_MANIFEST, BUNDLE_CONFIG), words)
}

/// A bundle whose manifest is another.
fn manifest(name: &'static str, from: &'static str, to: impl Into<String>, words: &[&str]) -> Row {
    let to = to.into();
    assert!(BUNDLE_MANIFEST.contains(from));
    row(name, move || bundle_of(BUNDLE_INDEX, &BUNDLE_MANIFEST.replace(from, &to), BUNDLE_CONFIG), words)
}

/// The offset of the header of the file called `name`.
fn at(bundle: &[u8], name: &str) -> usize {
    (0..bundle.len()).step_by(512).find(|&at| bundle[at..].starts_with(name.as_bytes())).unwrap_or_else(|| panic!("no {name}"))
}

fn blob_name() -> String {
    format!("blobs/sha256/{}", Sha256::of(BLOB))
}

/// A bundle with other blocks in the place of its blob, which is a header and one block.
fn blob(name: &'static str, make: impl FnOnce() -> Vec<u8> + 'static, words: &[&str]) -> Row {
    row(
        name,
        move || {
            let mut bundle = sound();
            let at = at(&bundle, &blob_name());
            bundle.splice(at..at + 1024, make());
            bundle
        },
        words,
    )
}

/// A bundle with other bytes in the header of its blob, and the right sum.
fn header(name: &'static str, place: usize, bytes: &'static [u8], words: &[&str]) -> Row {
    let make = move || {
        let head = bundle_header(&blob_name(), b'0', 0o644, BLOB.len() as u64);
        [&with(head, &[(place, bytes)])[..], &padded(BLOB)].concat()
    };
    blob(name, make, words)
}

fn cut_everywhere(bytes: &[u8], place: &Place) -> kbake::Result<Seen> {
    read(bytes, place)?;
    for block in (0..bytes.len()).step_by(512) {
        for at in [block, block + 1, block + 511] {
            if let Ok(seen) = read(&bytes[..at], place) {
                return Ok(vec![format!("cut at {at}: {seen:?}")]);
            }
        }
    }
    Ok(vec!["every cut is refused".to_owned()])
}

/// One bit of every byte, one after the other: the bundle is refused, or it is another by its digest.
fn flipped_everywhere(bytes: &[u8], _: &Place) -> kbake::Result<Seen> {
    let mut bytes = bytes.to_vec();
    let digest = bundle::read(&mut &*bytes, &mut Hash)?;
    for at in 0..bytes.len() {
        bytes[at] ^= 1;
        if bundle::read(&mut &*bytes, &mut Hash).is_ok_and(|found| found == digest) {
            return Ok(vec![format!("another byte {at}")]);
        }
        bytes[at] ^= 1;
    }
    Ok(vec!["every byte counts".to_owned()])
}

/// A manifest with the largest number of parts.
fn many_parts() -> Vec<u8> {
    let (front, list) = BUNDLE_MANIFEST.split_once("\"layers\":[").unwrap();
    let one = list.strip_suffix("]}").unwrap();
    let many: Vec<String> = (0..15_000).map(|n| one.replace("\"plan\"", &format!("\"plan-{n}\""))).collect();
    bundle_of(BUNDLE_INDEX, &format!("{front}\"layers\":[{}]}}", many.join(",")), BUNDLE_CONFIG)
}

pub fn rows() -> Vec<Row> {
    let accepted = |row: Row, seen: &'static str| Row { expect: Expect::Accepted(vec![seen]), ..row };
    let instead = |head: [u8; 512], contents: &[u8]| [&head[..], &padded(contents)].concat();
    let mut rows = vec![
        accepted(row("a sound bundle", sound, &[]), "1 contents, 1 blobs"),
        accepted(row("a bundle of 15,000 names of one blob", many_parts, &[]), "1 contents, 1 blobs"),
        Row { read: Box::new(cut_everywhere), ..accepted(row("a bundle cut everywhere", sound, &[]), "every cut is refused") },
        Row { read: Box::new(flipped_everywhere), ..accepted(row("a bundle with any other byte", sound, &[]), "every byte counts") },
        foreign(row("a bundle that is a page", || b"<!doctype html>".repeat(100), &["not a bundle"])),
        foreign(row("a bundle that is packed", || gzip(&sound()), &["not a bundle"])),
        foreign(row("a bundle of nothing", Vec::new, &["not a bundle"])),
        foreign(index("a bundle of the next format", "format\":\"1", "format\":\"2", &["newer kbake"])),
        foreign(index("a layout of another's", "vnd.kbake.bundle.format", "vnd.evil.format", &["not a bundle"])),
        row("garbage behind a bundle", || [sound(), vec![1]].concat(), &["bytes after its end"]),
        row("zeros behind a bundle", || [sound(), vec![0; 512]].concat(), &["bytes after its end"]),
        row("a bundle behind a bundle", || [sound(), sound()].concat(), &["bytes after its end"]),
        row(
            "a file more in a bundle",
            || {
                let whole = sound();
                [&whole[..whole.len() - END.len()], &bundle_file("blobs/sha256/evil", b"x"), &END].concat()
            },
            &["the bundle is damaged"],
        ),
        blob("a blob that is not there", Vec::new, &["the bundle is damaged"]),
        blob("a blob twice", || bundle_file(&blob_name(), BLOB).repeat(2), &["the bundle is damaged"]),
        blob("a blob up and away", || bundle_file("../../etc/passwd", BLOB), &["found `../../etc/passwd`"]),
        blob("an absolute blob", || bundle_file("/etc/passwd", BLOB), &["found `/etc/passwd`"]),
        blob("a blob with a dot before it", || bundle_file(&format!("./{}", blob_name()), BLOB), &["found `"]),
        blob("a blob of other bytes", || bundle_file(&blob_name(), b"evil"), &["expected sha256:"]),
        blob("a blob that is longer", || bundle_file(&blob_name(), b"blob and more"), &["13 bytes, expected 4"]),
        blob("a blob that is a link", move || instead(bundle_header(&blob_name(), b'2', 0o644, 0), BLOB), &["a symbolic link"]),
        blob("a blob that is a hard link", move || instead(bundle_header(&blob_name(), b'1', 0o644, 0), BLOB), &["a hard link"]),
        blob("a blob that is a device", move || instead(bundle_header(&blob_name(), b'4', 0o644, 0), BLOB), &["a device"]),
        blob("a blob that is a pipe", move || instead(bundle_header(&blob_name(), b'6', 0o644, 0), BLOB), &["a pipe"]),
        blob("a blob that is a folder", move || instead(bundle_header(&blob_name(), b'5', 0o644, 0), BLOB), &["a folder"]),
        blob("a blob that is sparse", move || instead(bundle_header(&blob_name(), b'S', 0o644, 4), BLOB), &["a sparse file"]),
        blob("a blob with a pax size", || [pax(&[record("size", b"4")]), bundle_file(&blob_name(), BLOB)].concat(), &["a pax header"]),
        blob(
            "a blob with a global header",
            || [entry(b"g", b'g', b"", &record("path", b"../x")), bundle_file(&blob_name(), BLOB)].concat(),
            &["a pax header"],
        ),
        blob("a blob with a GNU name", || [long(b'L', b"../x\0"), bundle_file(&blob_name(), BLOB)].concat(), &["a GNU long name"]),
        blob("a blob of GNU's form", || file(blob_name().as_bytes(), BLOB), &["another mode, owner, time or checksum"]),
        header("a blob with setuid", 100, b"0004755\0", &["another mode, owner, time or checksum"]),
        header("a blob of somebody's", 108, b"0001750\0", &["another mode, owner, time or checksum"]),
        header("a blob of another time", 136, b"00000000001\0", &["another mode, owner, time or checksum"]),
        header("a blob's size in base 256", 124, b"\x80\0\0\0\0\0\0\0\0\0\0\x04", &["not a plain octal number"]),
        header("a blob's size with spaces", 124, b"          4\0", &["not a plain octal number"]),
        header("a blob with an owner's name", 265, b"root", &["another mode, owner, time or checksum"]),
        header("a blob with a link's target", 157, b"/etc/passwd", &["another mode, owner, time or checksum"]),
        index("an index of no contents", "\"size\":@MS@", "\"size\":0", &["0 bytes, expected 1 to"]),
        index("a manifest of a terabyte", "\"size\":@MS@", "\"size\":1099511627776", &["1099511627776 bytes, expected"]),
        index("a manifest that lies", "sha256:@M@", format!("sha256:{}", "0".repeat(64)), &["expected blobs/sha256/"]),
        index("a manifest with a path for a digest", "sha256:@M@", "../../etc/passwd", &["not a SHA-256 digest"]),
        index("a role with a path for a name", "\"etcd\"", "\"../../etcd\"", &["not a role name"]),
        index("an index with spaces", "{\"schemaVersion\"", "{ \"schemaVersion\"", &["not canonical"]),
        index("an index with a key twice", "{\"schemaVersion\":2", "{\"schemaVersion\":2,\"schemaVersion\":2", &["duplicate field"]),
        index(
            "an index with more annotations",
            "\"vnd.kbake.bundle.format\"",
            "\"evil\":\"x\",\"vnd.kbake.bundle.format\"",
            &["not canonical"],
        ),
        index(
            "an index a thousand deep",
            "\"manifests\":[",
            format!("\"x\":{}1{},\"manifests\":[", "[".repeat(1000), "]".repeat(1000)),
            &["is invalid"],
        ),
        manifest("a part of an exabyte", "\"size\":@BS@", "\"size\":1152921504606846976", &["at most 1099511627776"]),
        manifest("a part of unknown kind", "vnd.kbake.plan.v1", "vnd.evil.v1", &["unknown media type"]),
        manifest("a part with no title", "\"plan\"", "\"\"", &["no usable title"]),
        manifest("a part with a title for a terminal", "\"plan\"", "\"\\u001b[2J\"", &["no usable title"]),
        manifest("a part left out of nothing", "\"plan\"}", "\"plan\",\"vnd.kbake.bundle.left-out\":\"true\"}", &["`plan` is omitted"]),
        manifest("a configuration that lies", "sha256:@C@", format!("sha256:{}", "0".repeat(64)), &["expected blobs/sha256/"]),
        manifest("a manifest that ends early", "\"layers\":[", "\"layers\":[]}", &["is invalid"]),
    ];
    rows.extend([
        Row { expect: Expect::Accepted(vec!["2 parts"]), ..project_file("a file of a project", "recipes/roles/etcd.toml") },
        project_file("a project's file up", "recipes/../../etc/cron.d/evil"),
        project_file("a project's file up at once", "../evil"),
        project_file("a project's file absolute", "/etc/cron.d/evil"),
        project_file("a project's file elsewhere", ".git/hooks/pre-commit"),
        project_file("a project's file with dots", "recipes/./etcd.toml"),
        project_file("a project's file with two slashes", "recipes//etcd.toml"),
        description("a description of another role", "etcd", "evil", &["it is about `evil`"]),
        description("a description of another plan", "\"plan\":\"", "\"plan\":\"0", &["description of `etcd` cannot be used"]),
        description("a description with more in it", "{", "{\"evil\":1,", &["unknown field `evil`"]),
        description("a description with spaces", "{", "{ ", &["not written as kbake writes it"]),
        description("a description of format 2", "\"format\":1", "\"format\":2", &["its format is 2"]),
    ]);
    rows.push(row(
        "an index of 17 MiB",
        || {
            let mut whole = sound();
            let at = at(&whole, "index.json");
            whole.splice(at..at + 512, bundle_header("index.json", b'0', 0o644, 17 << 20));
            whole
        },
        &["17825792 bytes"],
    ));
    rows.push(row(
        "an index whose header has another sum",
        || {
            let mut whole = sound();
            let at = at(&whole, "index.json");
            let head: [u8; 512] = whole[at..at + 512].try_into().unwrap();
            let mut head = sum(head);
            head[155] = b'x';
            whole.splice(at..at + 512, head);
            whole
        },
        &["index.json"],
    ));
    rows
}
