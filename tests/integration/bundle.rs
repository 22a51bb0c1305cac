//! Bundles from creation to import: read by reference tools, copied into a real registry, the same bytes wherever they are made. A site
//! without network builds from one the image that it claims, or reports that it got another. Fetches about 110 MB from the host's
//! package mirrors, once.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use kbake::bundle::{self, Content, Files, Outline};
use kbake::store::{Access, Store, StoreSource};
use kbake::value::{Cancel, Sha256};
use serde_json::Value;

use crate::support::baked::{self, fresh_folder, judge, ok, path, text};
use crate::support::docker::Registry;
use crate::support::{OTHER_USER, ROOT, program};

const INTEGRITY: i32 = 4;
const USER: i32 = 1;

/// A project of its own, its store, and bundles of its role.
struct Made {
    folder: PathBuf,
    /// The digest of the role's image.
    image: String,
    /// The digest of `both.bundle`.
    both: String,
}

impl Made {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// One cold build for all tests: etcd with files of the project's own, one of them large. images/expected.toml has no digest
/// of it.
static MADE: LazyLock<Made> = LazyLock::new(|| {
    let folder = fresh_folder("bundle");
    let project = folder.join("project");
    fs::create_dir(&project).unwrap();
    judge("cp", &["-r", &format!("{ROOT}/recipes"), &format!("{ROOT}/lockfiles"), path(&project)]);
    let role = project.join("recipes/roles/etcd.toml");
    let recipe = fs::read_to_string(&role).unwrap();
    let entries = "\n[[file]]\npath = \"/etc/motd\"\nsource = \"files/motd\"\n\n\
                   [[file]]\npath = \"/opt/large\"\nsource = \"files/deep/large\"\n";
    fs::write(&role, recipe + entries).unwrap();
    fs::create_dir_all(project.join("recipes/files/deep")).unwrap();
    fs::write(project.join("recipes/files/motd"), "carried by hand\n").unwrap();
    // Larger than files that kbake holds in memory.
    let large: Vec<u8> = (0..3_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(project.join("recipes/files/deep/large"), large).unwrap();
    let output = ok(kbake(&project, &folder, &["build", "etcd"]).output().unwrap());
    let image = last_digest(&output);
    let both = create(&project, &folder, &["etcd", "--offline", "--out", "both.bundle"]);
    Made { folder, image, both }
});

/// A kbake that works in `folder` on `project`, with its own store there.
fn kbake(project: &Path, folder: &Path, args: &[&str]) -> Command {
    let mut command = baked::kbake(project, folder, args);
    command.stdin(Stdio::null());
    command
}

/// The digest in the last line `… sha256:DIGEST` on stdout.
fn last_digest(output: &Output) -> String {
    let said = text(&output.stdout);
    let word = said.split_ascii_whitespace().rfind(|word| word.starts_with("sha256:"));
    word.unwrap_or_else(|| panic!("no digest in {said:?}"))["sha256:".len()..].to_owned()
}

fn create(project: &Path, folder: &Path, args: &[&str]) -> String {
    last_digest(&ok(kbake(project, folder, &[&["bundle", "create"], args].concat()).output().unwrap()))
}

/// A new folder with a store of its own, without network.
struct Site {
    folder: PathBuf,
}

impl Site {
    fn new(name: &str) -> Site {
        Site { folder: fresh_folder(name) }
    }

    /// Runs kbake with no network but loopback, and no project but the given one.
    fn run(&self, args: &[&str], stdin: Stdio) -> Output {
        let words = if judge("id", &["-u"]).trim() == "0" { &["--net"][..] } else { &["--net", "--map-root-user"] };
        let mut command = program::kbake_by("unshare", words, &self.folder);
        command.args(args).arg("--store").arg(self.folder.join("store"));
        command.env("KBAKE_CHANNEL", "debian").stdin(stdin);
        command.output().unwrap_or_else(|e| panic!("unshare is missing: run tests/setup.sh ({e})"))
    }

    fn ok(&self, args: &[&str]) -> Output {
        let output = ok(self.run(args, Stdio::null()));
        println!("kbake {}\n{}{}", args.join(" "), text(&output.stdout), text(&output.stderr));
        output
    }

    #[track_caller]
    fn fails(&self, code: i32, args: &[&str], words: &[&str]) {
        let output = self.run(args, Stdio::null());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is not in:\n{said}");
        }
        println!("kbake {} is refused:\n{said}", args.join(" "));
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.join("store").join(folder))
            .map(|folder| folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }
}

/// The contents of a bundle, and its digest.
fn documents(file: &Path) -> (Outline, Sha256) {
    bundle::documents(&mut Files::open(&[file.to_owned()]).unwrap()).unwrap()
}

/// A bundle of inputs alone, in pieces, gives the claimed image; a wrong claim is reported.
#[test]
fn a_site_without_network_builds_what_was_promised() {
    let made = &*MADE;
    let project = made.file("project");
    create(&project, &made.folder, &["etcd", "--offline", "--inputs", "--out", "inputs.bundle", "--split", "20M"]);
    assert!(made.file("inputs.bundle.001").exists() && !made.file("inputs.bundle").exists());

    // Through a pipe, without the checkout and without network.
    let site = Site::new("bundle-site");
    let mut pieces: Vec<PathBuf> = fs::read_dir(&made.folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("inputs.bundle."))
        .collect();
    pieces.sort();
    let mut cat = Command::new("cat").args(&pieces).stdout(Stdio::piped()).spawn().unwrap();
    let output = ok(site.run(&["bundle", "import", "-", "--project-to", "project"], cat.stdout.take().unwrap().into()));
    assert!(cat.wait().unwrap().success());
    assert_eq!(text(&output.stdout), format!("etcd sha256:{} to-be-built\n", made.image), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("must be built here") && said.contains("--channel debian build etcd --offline"), "{said}");
    assert_eq!(site.names("claims").len(), 1);
    assert!(site.names("actions").is_empty(), "an input is no reason to believe an image");
    judge("diff", &["-r", path(&project.join("lockfiles/debian.lock")), path(&site.folder.join("project/lockfiles/debian.lock"))]);
    for folder in ["roles", "parts", "files"] {
        let name = format!("recipes/{folder}");
        judge("diff", &["-r", path(&project.join(&name)), path(&site.folder.join("project").join(&name))]);
    }

    // A second import, from the files, changes nothing.
    let output = site.ok(&["bundle", "import", path(&pieces[0]), "--project-to", "project"]);
    assert!(text(&output.stderr).contains(" 0 blobs (0 B) imported"), "{}", text(&output.stderr));

    let build = ["--project", "project", "build", "etcd", "--offline"];
    let output = site.ok(&build);
    assert!(text(&output.stderr).contains("etcd: built"), "{}", text(&output.stderr));
    assert_eq!(last_digest(&output), made.image);
    assert!(judge("sha256sum", &[path(&site.folder.join("images/etcd.qcow2"))]).starts_with(&made.image));

    // This store has the image now: a bundle that claims another is refused.
    let liar = site.folder.join("liar.bundle");
    let wrong = Sha256::of("another image").to_string();
    lie(made, &made.file("inputs.bundle"), &liar, &wrong);
    site.fails(
        INTEGRITY,
        &["bundle", "import", path(&liar)],
        &["is not the one that this store has for the same plan", &wrong, &made.image],
    );

    // A store without the image does not trust the claim, builds, and reports the difference.
    for name in site.names("actions").iter().filter(|name| name.starts_with("image-")) {
        fs::remove_file(site.folder.join("store/actions").join(name)).unwrap();
    }
    site.fails(
        INTEGRITY,
        &["bundle", "import", path(&liar)],
        &["is not the one that another bundle claims", &wrong, &made.image, "to drop"],
    );
    fs::remove_dir_all(site.folder.join("store/claims")).unwrap();
    fs::remove_dir_all(site.folder.join("images")).unwrap();
    site.ok(&["bundle", "import", path(&liar)]);
    for _ in 0..2 {
        // The second time, the image is in the store.
        let words = ["does not match the one that a bundle claims for this plan", &wrong, &made.image, "hint: "];
        site.fails(INTEGRITY, &build, &words);
        assert!(!site.folder.join("images/etcd.qcow2").exists());
    }
    let output = site.ok(&[&build[..], &["--accept-new-digest"]].concat());
    assert_eq!(last_digest(&output), made.image);
    assert_eq!(last_digest(&site.ok(&build)), made.image, "the promise is forgotten");
}

/// A sound bundle with a wrong claim about its role's image.
fn lie(made: &Made, honest: &Path, to: &Path, image: &str) {
    let (outline, _) = documents(honest);
    let changed = |content: &Content| {
        let config = String::from_utf8(content.config.clone()).unwrap().replace(&made.image, image);
        assert_ne!(config.as_bytes(), content.config);
        // The recipes are not in this store as blobs, and not needed here.
        let parts = content.parts.iter().filter(|part| part.kind != bundle::Kind::File).cloned().collect();
        Content { config: config.into_bytes(), parts, ..content.clone() }
    };
    let outline = Outline::new(outline.contents().iter().map(changed).collect(), BTreeSet::new()).unwrap();
    let store = Store::open(&made.file("store"), Access::Shared, &Cancel::new(), &|| ()).unwrap();
    bundle::write(&outline, &StoreSource(&store), &mut File::create(to).unwrap(), &Cancel::new(), &|_| ()).unwrap();
}

/// An image is trusted if the user gives the bundle's digest; otherwise it is not used.
#[test]
fn an_image_is_believed_with_the_right_digest_only() {
    let made = &*MADE;
    let project = made.file("project");
    let digest = create(&project, &made.folder, &["etcd", "--offline", "--outputs", "--out", "outputs.bundle"]);
    let bundle = made.file("outputs.bundle");
    let site = Site::new("bundle-outputs");
    let wrong = Sha256::of("another bundle").to_string();
    for command in ["verify", "import"] {
        site.fails(
            INTEGRITY,
            &["bundle", command, path(&bundle), "--expect", &wrong],
            &["the bundle's digest is not the expected", &wrong, &digest],
        );
    }
    assert!(site.names("blobs/sha256").is_empty());

    let output = site.ok(&["bundle", "import", path(&bundle), "--project-to", "project"]);
    assert_eq!(text(&output.stdout), format!("etcd sha256:{} not-believed\n", made.image));
    assert!(text(&output.stderr).contains("its image is not trusted and not used"), "{}", text(&output.stderr));
    let build = ["--project", "project", "build", "etcd", "--offline"];
    site.fails(3, &build, &["missing in the store", "kbake bundle"]);

    let expect = format!("sha256:{digest}");
    let output = site.ok(&["bundle", "import", path(&bundle), "--expect", &expect]);
    assert_eq!(text(&output.stdout), format!("etcd sha256:{} believed\n", made.image));
    let output = site.ok(&build);
    assert!(text(&output.stderr).contains("taken from the store"), "{}", text(&output.stderr));
    assert!(judge("sha256sum", &[path(&site.folder.join("images/etcd.qcow2"))]).starts_with(&made.image));

    // A different file in the folder is kept.
    fs::write(site.folder.join("project/recipes/files/motd"), "mine\n").unwrap();
    site.fails(USER, &["bundle", "import", path(&bundle), "--project-to", "project"], &["recipes/files/motd is a different file"]);
    assert_eq!(fs::read_to_string(site.folder.join("project/recipes/files/motd")).unwrap(), "mine\n");
}

/// Each bundle has only blobs that the bundles before it lack.
#[test]
fn a_differential_bundle_brings_what_is_new() {
    let made = &*MADE;
    let folder = fresh_folder("bundle-since");
    judge("cp", &["-r", path(&made.file("project")), path(&folder)]);
    judge("cp", &["-al", path(&made.file("store")), path(&folder)]);
    let project = folder.join("project");
    let motd = |text: &str| fs::write(project.join("recipes/files/motd"), text).unwrap();
    motd("second\n");
    let first = made.file("both.bundle");
    let second_digest = create(&project, &folder, &["etcd", "--offline", "--out", "second.bundle", "--since", path(&first)]);
    motd("third\n");
    create(&project, &folder, &["etcd", "--offline", "--out", "third.bundle", "--since", "second.bundle"]);
    let (second, third) = (folder.join("second.bundle"), folder.join("third.bundle"));
    let size = |file: &Path| fs::metadata(file).unwrap().len();
    // The packages are left out; the image is another one each time.
    let less = |file: &Path| size(&first) > size(file) + (100 << 20);
    assert!(less(&second) && less(&third), "{} {} {}", size(&first), size(&second), size(&third));
    assert_eq!(documents(&third).0.since(), &[second_digest.parse().unwrap()].into());

    let site = Site::new("bundle-since-site");
    for file in [&first, &second, &third] {
        site.ok(&["bundle", "verify", path(file)]);
    }
    // The blobs that a bundle left out are missing: nothing is written.
    site.fails(USER, &["bundle", "import", path(&third)], &["leaves out", "missing: pool/", &second_digest, "import that bundle first"]);
    assert!(site.names("blobs/sha256").is_empty());
    for file in [&first, &second, &third] {
        site.ok(&["bundle", "import", path(file)]);
    }
    let listed = text(&site.ok(&["bundle", "show", path(&third)]).stdout);
    assert!(listed.contains("  left out\n") && listed.contains(&format!("since sha256:{second_digest}\n")), "{listed}");
}

/// Reference tools read the same contents.
#[test]
fn foreign_tools_read_a_bundle() {
    let made = &*MADE;
    let file = made.file("both.bundle");
    let (outline, digest) = documents(&file);
    assert_eq!(digest.to_string(), made.both);
    let index = judge("tar", &["xOf", path(&file), "index.json"]);
    assert_eq!(Sha256::of(&index), digest, "the bundle's digest is the index's");
    let listed = judge("tar", &["tf", path(&file)]);
    let names: Vec<&str> = listed.lines().collect();
    assert_eq!(names[..4], ["oci-layout", "index.json", "blobs/", "blobs/sha256/"]);
    assert!(names[6..].is_sorted(), "behind manifest and configuration all others, by digest");

    let folder = fresh_folder("bundle-unpacked");
    judge("tar", &["xf", path(&file), "-C", path(&folder)]);
    let sums: String = names[4..].iter().map(|name| format!("{}  {name}\n", name.rsplit('/').next().unwrap())).collect();
    fs::write(folder.join("SUMS"), sums).unwrap();
    let checked = judge("sh", &["-c", "cd \"$1\" && sha256sum --strict --check SUMS", "sh", path(&folder)]);
    assert_eq!(checked.lines().filter(|line| line.ends_with(": OK")).count(), names.len() - 4);
    assert_eq!(names.len() - 4, outline.entries().len() + 2);

    // Python's reader of tars, which is stricter than GNU's.
    let script = "import sys, tarfile, hashlib\n\
        for m in tarfile.open(sys.argv[1], 'r:', errorlevel=2):\n\
        \x20   d = hashlib.sha256(tarfile.open(sys.argv[1]).extractfile(m).read()).hexdigest() if m.isfile() and m.size < 1 << 16 else '-'\n\
        \x20   print(m.name, m.size, oct(m.mode), m.uid, m.gid, m.mtime, m.uname + m.gname + '.', m.type.decode(), d)\n";
    let python = judge("python3", &["-c", script, path(&file)]);
    assert_eq!(python.lines().count(), names.len());
    for (line, name) in python.lines().zip(&names) {
        let words: Vec<&str> = line.split(' ').collect();
        let (mode, kind) = if name.ends_with('/') { ("0o755", "5") } else { ("0o644", "0") };
        assert_eq!((words[0], &words[2..8]), (name.trim_end_matches('/'), &[mode, "0", "0", "0", ".", kind][..]), "{line}");
        assert!(words[8] == "-" || !name.starts_with("blobs/") || name.ends_with(words[8]), "{line}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// A role is copied from the bundle into a real registry unchanged, with the bundle's digests.
#[test]
fn skopeo_copies_a_role_into_a_registry() {
    let made = &*MADE;
    let file = made.file("both.bundle");
    let registry = Registry::start("", |_| ());
    let work = fresh_folder("bundle-skopeo");
    let skopeo = |args: &[&str]| {
        let mut command = Command::new("skopeo");
        command.arg("--insecure-policy").args(args).env("TMPDIR", &work).env("HOME", &work).env("XDG_RUNTIME_DIR", &work);
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        ok(command.output().unwrap_or_else(|e| panic!("skopeo is missing: run tests/setup.sh ({e})"))).stdout
    };
    let there = format!("docker://{}/site/etcd:1", registry.address);
    skopeo(&["copy", "--quiet", "--dest-tls-verify=false", &format!("oci-archive:{}:etcd", path(&file)), &there]);
    let manifest = skopeo(&["inspect", "--raw", "--tls-verify=false", &there]);
    let (outline, _) = documents(&file);
    let index: Value = serde_json::from_str(&judge("tar", &["xOf", path(&file), "index.json"])).unwrap();
    assert_eq!(index["manifests"][0]["digest"], format!("sha256:{}", Sha256::of(&manifest)));
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.kbake.role.v1");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), outline.contents()[0].parts.len());
    // Each blob on the registry's disk has the digest of its name.
    let blobs = registry.folder.path().join("data/docker/registry/v2/blobs/sha256");
    for part in &outline.contents()[0].parts {
        let hex = part.digest.to_string();
        let data = blobs.join(&hex[..2]).join(&hex).join("data");
        assert_eq!(fs::metadata(&data).unwrap_or_else(|e| panic!("{}: {e}", part.title)).len(), part.size, "{}", part.title);
    }
    let image = blobs.join(&made.image[..2]).join(&made.image).join("data");
    assert!(judge("qemu-img", &["check", path(&image)]).contains("No errors were found"));
}

/// Another user, folder, umask and modes of files give the same bytes.
#[test]
fn the_same_bytes_wherever_a_bundle_is_made() {
    let made = &*MADE;
    let folder = Path::new("/tmp").join(format!("kbake bundle-{}", std::process::id()));
    let _cleanup = Cleanup(folder.clone());
    // The other user can read all of these, and nothing of the checkout.
    fs::create_dir(&folder).unwrap();
    program::copy_to(&folder);
    judge("cp", &["-r", path(&made.file("project")), &format!("{}/p r o j", path(&folder))]);
    judge("cp", &["-r", path(&made.file("store")), &format!("{}/s t o r e", path(&folder))]);
    // Times and modes of the files are no part of it.
    judge("find", &[path(&folder.join("p r o j")), "-type", "f", "-exec", "touch", "-d", "2001-02-03", "{}", "+"]);
    judge("find", &[path(&folder.join("p r o j")), "-type", "f", "-exec", "chmod", "600", "{}", "+"]);
    let is_root = judge("id", &["-u"]).trim() == "0";
    let script = "set -eu; umask 077; cd \"$1\"; export HOME=\"$1\"; \
        ./kbake bundle create etcd --channel debian --offline --jobs 1 --project 'p r o j' --store 's t o r e' --out out/b";
    let mut command = Command::new(if is_root { "setpriv" } else { "sh" });
    if is_root {
        judge("chown", &["-R", OTHER_USER, path(&folder)]);
        command.args(["--reuid", OTHER_USER, "--regid", OTHER_USER, "--init-groups", "--", "sh"]);
    }
    command.args(["-c", script, "sh", path(&folder)]).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TZ", "Pacific/Chatham").env("LC_ALL", "tr_TR.UTF-8").env("LANG", "de_DE");
    let output = ok(command.output().unwrap_or_else(|e| panic!("setpriv is missing: run tests/setup.sh ({e})")));
    assert_eq!(last_digest(&output), made.both);
    judge("cmp", &[path(&made.file("both.bundle")), path(&folder.join("out/b"))]);
}

/// Removes a folder at the end, also of a failing test.
struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One flipped byte anywhere is found; the sound blobs before it are kept for the next import.
#[test]
fn a_bundle_that_was_damaged_on_its_way() {
    let made = &*MADE;
    let site = Site::new("bundle-damaged");
    let bad = site.folder.join("bad.bundle");
    let mut bytes = fs::read(made.file("both.bundle")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&bad, &bytes).unwrap();
    for command in ["verify", "import"] {
        site.fails(INTEGRITY, &["bundle", command, path(&bad)], &["hash mismatch", "expected sha256:", "the bundle is "]);
    }
    assert!(site.names("claims").is_empty() && site.names("actions").is_empty() && site.names("roots").is_empty());
    assert!(!site.names("blobs/sha256").is_empty(), "what came whole stays");
    let output = site.ok(&["bundle", "import", path(&made.file("both.bundle"))]);
    assert!(!text(&output.stderr).contains(", 0 already present"), "the rest is gone on with: {}", text(&output.stderr));
    let cut = fs::File::options().write(true).open(&bad).unwrap();
    cut.set_len(middle as u64).unwrap();
    site.fails(INTEGRITY, &["bundle", "verify", path(&bad)], &["the bundle ends there"]);
}
