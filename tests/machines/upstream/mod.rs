//! A channel of publishers' releases, with hosts on loopback that behave as the publishers' do: from checksum files and tags to the
//! lockfile, and from there to the bytes in an image.

mod host;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Instant;

use host::{Releases, program};
use kbake::ROOT_START;
use kbake::value::{Sha256, Sha512};
use serde_json::Value;

use crate::support::ROOT;
use crate::support::baked::{self, fresh_folder, judge, ok, path, text};
use crate::support::docker::Registry;

const SOURCES: &str = include_str!("sources.toml");
/// A worker, whose packages are those of the role in whose store this looks for a base.
const ROLE: &str = "description = \"A worker of publishers' releases\"\n\nparts = [\"containerd\", \"kubelet\", \"kube-proxy\"]\n\
                    artifacts = [\"addon\", \"agent\", \"etcd\", \"etcdctl\", \"helm\", \"nerdctl\"]\nimages = [\"busybox\"]\n\n\
                    packages = [\"nfs-common\"]\n";
const AGENT: &str = "recipes/files/agent.tar.gz";
const LOCK: &str = "lockfiles/fake.lock";
const KUBELET: &str = "/release/v1.36.2/bin/linux/amd64/kubelet";

/// kbake's exit codes.
const USER: i32 = 1;
const INTEGRITY: i32 = 4;

/// A project with a store of its own.
struct Project {
    folder: PathBuf,
}

impl Project {
    /// With the base that is in `store`, and nothing that this channel is about.
    fn new(name: &str, store: &Path, sources: &str) -> Project {
        let folder = fresh_folder(name);
        judge("cp", &["-r", &format!("{ROOT}/recipes"), path(&folder)]);
        // Others may work in it: what lasts only while they do is left out.
        fs::create_dir(folder.join("store")).unwrap();
        let parts = ["format", "blobs", "actions"].map(|part| format!("{}/{part}", path(store)));
        judge("cp", &["-al", &parts[0], &parts[1], &parts[2], path(&folder.join("store"))]);
        fs::create_dir(folder.join("lockfiles")).unwrap();
        fs::write(folder.join("recipes/roles/node.toml"), ROLE).unwrap();
        let project = Project { folder };
        project.write("recipes/sources/fake.toml", sources);
        project
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = baked::kbake(&self.folder, &self.folder, args);
        command.env("KBAKE_CHANNEL", "fake").env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        command.output().unwrap()
    }

    /// Stdout and stderr of a command that succeeds.
    fn ok(&self, args: &[&str]) -> [String; 2] {
        let started = Instant::now();
        let output = ok(self.run(args));
        println!("kbake {}: {:.1?}", args.join(" "), started.elapsed());
        [text(&output.stdout), text(&output.stderr)]
    }

    /// Runs a command that fails with `code` and says `words`.
    #[track_caller]
    fn fails(&self, code: i32, args: &[&str], words: &[&str]) {
        let output = self.run(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        says(&said, words);
        println!("kbake {} is refused:\n{said}", args.join(" "));
    }
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

/// The whole way, in a user's order. `store` has the packages and the base of a worker, and
/// `lock` is the lock of its channel.
pub fn chain(store: &Path, lock: &str) {
    let work = fresh_folder("upstream-work");
    let releases = Releases::start(&work);
    let mut pause = None;
    let registry = Registry::start("", |folder| pause = Some(host::pause(folder, &work)));
    let (index, pause) = pause.unwrap();
    let sources = SOURCES.replace("@HOST@", &releases.host.base()).replace("@REGISTRY@", &registry.address);
    let first = Project::new("upstream-1", store, &sources);
    let second = Project::new("upstream-2", store, &sources);

    // An archive of one's own, in either project.
    let agent = host::archive(&work, &[("agent-7/agent", &program("agent", "amd64")), ("agent-7/README", b"read me\n")]);
    for project in [&first, &second] {
        fs::create_dir(project.folder.join("recipes/files")).unwrap();
        fs::write(project.folder.join(AGENT), &agent).unwrap();
    }

    // The packages of this channel's beginning are those of the store.
    first.write(LOCK, &lock.replacen("channel = \"debian\"", "channel = \"fake\"", 1));
    locks(&first, &releases, &registry, &index);
    let digest = builds(&first, &releases);
    shows(&first, &releases, &registry);
    holds_what_was_served(&first, &releases, &work, &index, &pause);

    second.write(LOCK, &first.read(LOCK));
    refuses_other_bytes(&second, &releases);
    let [other, said] = second.ok(&["build", "node", "--verify"]);
    assert!(!said.contains("taken from the store"), "{said}");
    assert_eq!(digest_in(&other), digest, "another folder, another store");

    refuses_a_stale_lock(&first);
    takes_ones_own(&first, &work);
    tells_what_is_not_in_there(&first, &registry);
}

/// `images/node.qcow2 sha256:…` → the digest.
fn digest_in(line: &str) -> &str {
    line.trim_end().strip_prefix("images/node.qcow2 sha256:").unwrap_or_else(|| panic!("no digest in {line:?}"))
}

fn locks(project: &Project, releases: &Releases, registry: &Registry, index: &Sha256) {
    let [moves, said] = project.ok(&["lock"]);
    println!("{moves}{said}");
    says(&said, &["asking http", &format!("asking {}/k8s/pause:3.10.2", registry.address), "lockfiles/fake.lock is written"]);
    // Checksum files and lengths, and of releases themselves only what has no checksum file.
    let downloads: Vec<_> =
        releases.asked_since([0, 0]).into_iter().filter(|request| request.method == "GET").map(|request| request.path).collect();
    let is_text = |path: &str| ["sha256", "sha512", "SHA256SUMS", "CHECKSUMS", ".asc", ".yaml"].iter().any(|end| path.ends_with(end));
    let downloads: Vec<_> = downloads.iter().map(|path| path.split('?').next().unwrap()).collect();
    assert!(downloads.iter().all(|path| is_text(path)), "{downloads:?}");
    let sums = |end: &str| downloads.iter().filter(|path| path.starts_with("/github/") && path.ends_with(end)).count();
    assert_eq!(sums("SHA256SUMS"), 2, "for two artifacts once, at either host");

    let lock = project.read(LOCK);
    says(
        &lock,
        &[
            &format!("sha256 = \"{}\"", Sha256::of(releases.bytes(KUBELET))),
            &format!("verified = \"checksum:{}{KUBELET}.sha256\"", releases.host.base()),
            &format!("sha512 = \"{}\"", Sha512::of(releases.bytes("/cri-tools/crictl-v1.36.0-linux-amd64.tar.gz"))),
        ],
    );
    assert!(!lock.contains("arm64") && downloads.iter().all(|path| !path.contains("arm64")), "no image of another machine is baked");
    let addon = Sha256::of(releases.bytes("/addon/v0.16.1/native.yaml"));
    says(&lock, &[&format!("sha256 = \"{index}\"\nverified = \"registry\""), &format!("sha256 = \"{addon}\"\nverified = \"download\"")]);
    assert_eq!(lock.matches("\n[[artifact]]\n").count(), 10, "{lock}");
    let agent = Sha256::of(fs::read(project.folder.join(AGENT)).unwrap());
    says(
        &lock,
        &[&format!("version = \"7.8.9\"\narch = \"amd64\"\npath = \"{AGENT}\""), &format!("sha256 = \"{agent}\"\nverified = \"local\"")],
    );

    let mark = releases.mark();
    let [moves, said] = project.ok(&["lock"]);
    says(&said, &["lockfiles/fake.lock is unchanged"]);
    assert!(!said.contains(&releases.host.base()) && !said.contains(&registry.address), "{said}");
    assert_eq!((moves.as_str(), project.read(LOCK), releases.mark()), ("", lock, mark), "nothing new, nobody asked");
    let [_, said] = project.ok(&["lock", "--check"]);
    says(&said, &["lockfiles/fake.lock matches the recipes"]);
}

/// Gives the image's digest.
fn builds(project: &Project, releases: &Releases) -> String {
    let [plan, _] = project.ok(&["plan", "node"]);
    let crictl = Sha512::of(releases.bytes("/cri-tools/crictl-v1.36.0-linux-amd64.tar.gz"));
    says(&plan, &[&Sha256::of(releases.bytes(KUBELET)).to_string(), &crictl.to_string(), "/usr/share/kbake/images/pause.tar"]);
    let mark = releases.mark();
    project.ok(&["fetch", "node"]);
    let asked = releases.asked_since(mark);
    let of = |end: &str| asked.iter().filter(|request| request.path.ends_with(end)).collect::<Vec<_>>();
    // It came back after a pause; the other goes on where it broke off.
    assert_eq!(of("/amd64/kubelet").len(), 2, "{asked:?}");
    let ranges: Vec<_> = of("/amd64/kube-proxy").iter().map(|request| request.range.clone()).collect();
    assert_eq!(ranges, [None, Some("bytes=150000-".to_owned())]);
    // One archive, asked for once, at the host to which the publisher sends.
    assert_eq!(asked.iter().filter(|request| request.path.contains("etcd-v3.6.8-linux-amd64.tar.gz?sig=")).count(), 1, "{asked:?}");
    assert!(asked.iter().all(|request| !request.path.contains("arm64")), "{asked:?}");

    let bill = || project.ok(&["sbom", "node", "--contents"])[0].clone();
    let fetched = bill();
    let mark = releases.mark();
    let [built, said] = project.ok(&["build", "node", "--offline"]);
    println!("{said}");
    assert!(fetched.contains("\"pkg:pypi/") && fetched == bill(), "one text, whether the image is built or its inputs are only fetched");
    // The worker's base is taken as it is, and nothing is absent here.
    assert!(!said.contains("reading the tree") && !said.contains("Debian 12 has no kubelet"), "{said}");
    assert_eq!(releases.mark(), mark, "offline");
    digest_in(&built).to_owned()
}

/// Checks the tree and the bill of materials.
fn shows(project: &Project, releases: &Releases, registry: &Registry) {
    let [tree, _] = project.ok(&["tree", "node", "--offline"]);
    let line = |path: &str| tree.lines().find(|line| line.split(' ').nth(1) == Some(path)).unwrap_or_else(|| panic!("{path}\n{tree}"));
    for (path, name, version) in [
        ("/usr/local/bin/kubelet", "kubelet", "1.36.2"),
        ("/usr/local/bin/kube-proxy", "kube-proxy", "1.36.2"),
        ("/usr/local/bin/crictl", "crictl", "1.36.0"),
        ("/usr/local/bin/etcd", "etcd", "3.6.8"),
        ("/usr/local/bin/etcdutl", "etcd", "3.6.8"),
        ("/usr/local/bin/etcdctl", "etcdctl", "3.6.8"),
        ("/usr/local/bin/nerdctl", "nerdctl", "2.1.6"),
        ("/usr/local/bin/helm", "helm", "4.0.1"),
        ("/opt/agent/agent", "agent", "7.8.9"),
    ] {
        let line = line(path);
        println!("{line}");
        let bytes = program(path.rsplit('/').next().unwrap(), "amd64");
        says(line, &[" 0755 ", &Sha256::of(bytes).to_string(), &format!("artifact {name} {version}")]);
    }
    says(line("/usr/share/kbake/addons/native.yaml"), &[" 0644 ", "artifact addon 0.16.1"]);
    println!("{}\n{}", line("/usr/share/kbake/images/pause.tar"), line("/usr/share/kbake/images/busybox.tar"));
    says(line("/usr/share/kbake/images/pause.tar"), &[&format!("{}/k8s/pause:3.10.2", registry.address)]);
    says(line("/usr/share/kbake/images/busybox.tar"), &["kbake.internal/tools/busybox:1.35.0", "busybox"]);

    let [bill, _] = project.ok(&["sbom", "node"]);
    let bill: Value = serde_json::from_str(&bill).unwrap();
    let components = bill["components"].as_array().unwrap();
    let find = |name: &str, version: &str| {
        let found = components.iter().find(|one| one["name"] == name && one["version"] == version);
        found.unwrap_or_else(|| panic!("{name} {version} is not in the bill of materials"))
    };
    let hash = |component: &Value| component["hashes"][0]["content"].as_str().unwrap().to_owned();
    assert_eq!(hash(find("kubelet", "1.36.2")), Sha256::of(releases.bytes(KUBELET)).to_string());
    let crictl = Sha512::of(releases.bytes("/cri-tools/crictl-v1.36.0-linux-amd64.tar.gz"));
    assert_eq!(hash(find("crictl", "1.36.0")), crictl.to_string());
    for (name, version) in
        [("etcd", "3.6.8"), ("etcdctl", "3.6.8"), ("nerdctl", "2.1.6"), ("helm", "4.0.1"), ("addon", "0.16.1"), ("agent", "7.8.9")]
    {
        find(name, version);
    }
    let all = bill.to_string();
    says(&all, &[&format!("{}/k8s/pause", registry.address), "kbake.internal/tools/busybox"]);
}

/// A file of the image that is built, read by others' tools.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn of<'a>(project: &Project, work: &'a Path) -> Disk<'a> {
        let image = project.folder.join("images/node.qcow2");
        judge("qemu-img", &["convert", "-O", "raw", path(&image), path(&work.join("disk.raw"))]);
        Disk(work)
    }

    /// Also leaves it in the folder as `to`.
    fn dump(&self, from: &str, to: &str) -> Vec<u8> {
        let root = format!("{}?offset={ROOT_START}", path(&self.0.join("disk.raw")));
        judge("debugfs", &["-R", &format!("dump {from} {}", path(&self.0.join(to))), &root]);
        fs::read(self.0.join(to)).unwrap()
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0.join("disk.raw"));
    }
}

fn holds_what_was_served(project: &Project, releases: &Releases, work: &Path, index: &Sha256, pause: &[u8]) {
    let disk = Disk::of(project, work);
    let dump = |from: &str, to: &str| disk.dump(from, to);
    let served = |at: &str| releases.bytes(at);
    assert_eq!(dump("/usr/local/bin/kubelet", "kubelet"), served(KUBELET));
    assert_eq!(dump("/usr/local/bin/kube-proxy", "kube-proxy"), served("/release/v1.36.2/bin/linux/amd64/kube-proxy"));
    assert_eq!(dump("/usr/local/bin/nerdctl", "nerdctl"), served("/nerdctl/2.1.6/nerdctl-amd64"));
    for name in ["crictl", "etcd", "etcdctl", "etcdutl"] {
        assert_eq!(dump(&format!("/usr/local/bin/{name}"), name), program(name, "amd64"), "{name}");
    }
    assert_eq!(dump("/opt/agent/agent", "agent"), program("agent", "amd64"));
    // Container images lie unpacked in containerd's folder, which lists them.
    let containerd = "/var/lib/containerd";
    let list = String::from_utf8(dump(&format!("{containerd}/kbake-images"), "list")).unwrap();
    for (name, program) in [("pause.tar", pause), ("busybox.tar", &served("/busybox/1.35.0/busybox-amd64"))] {
        let number = list.split("image ").find(|image| image.starts_with(name)).unwrap().split_whitespace().last().unwrap();
        let inside = if name == "pause.tar" { "pause" } else { "usr/local/bin/busybox" };
        let files = format!("{containerd}/io.containerd.snapshotter.v1.overlayfs/snapshots/{number}/fs");
        assert!(dump(&format!("{files}/{inside}"), "program") == program, "{list}");
    }
    let index = index.to_string();
    let document = dump(&format!("{containerd}/io.containerd.content.v1.content/blobs/sha256/{index}"), "index");
    assert_eq!(Sha256::of(document).to_string(), index, "the registry's own index");
}

/// A publisher that puts other bytes where the locked ones were.
fn refuses_other_bytes(project: &Project, releases: &Releases) {
    let locked = releases.bytes(KUBELET);
    let mut bytes = locked.clone();
    bytes[100] ^= 1;
    let found = Sha256::of(&bytes).to_string();
    releases.change(KUBELET, bytes);
    project.fails(INTEGRITY, &["build", "node"], &["kubelet", &Sha256::of(&locked).to_string(), &found]);
    assert!(!project.folder.join("images/node.qcow2").exists());
    releases.change(KUBELET, locked);
}

/// Another version in the sources than in the lock.
fn refuses_a_stale_lock(project: &Project) {
    let file = "recipes/sources/fake.toml";
    let sources = project.read(file);
    project.write(file, &sources.replacen("kubernetes = \"1.36.2\"", "kubernetes = \"1.36.3\"", 1));
    for args in [&["lock", "--check"][..], &["plan", "node"], &["build", "node"]] {
        project.fails(USER, args, &["kubelet", "1.36.3", "kbake lock --channel fake"]);
    }
    project.write(file, &sources);
}

/// A program of one's own in the publisher's place.
fn takes_ones_own(project: &Project, work: &Path) {
    let lock = project.read(LOCK);
    project.write("mine", "#!/bin/sh\necho my kubelet\n");
    let [moves, _] = project.ok(&["lock", "--set", "kubelet=./mine"]);
    says(&moves, &["kubelet"]);
    says(&project.read(LOCK), &["path = \"mine\"", "verified = \"local\""]);
    project.ok(&["build", "node", "--offline", "--verify"]);
    assert_eq!(Disk::of(project, work).dump("/usr/local/bin/kubelet", "mine"), project.read("mine").into_bytes());
    goes_where_no_network_is(project);
    project.write("mine", "#!/bin/sh\necho my other kubelet\n");
    for args in [&["plan", "node"][..], &["build", "node", "--offline"]] {
        project.fails(
            USER,
            args,
            &["mine has changed since it was locked as `kubelet`", "`kbake lock --set kubelet=", "/mine ", "` and review"],
        );
    }
    project.ok(&["lock", "--unset", "kubelet"]);
    // The publisher is asked again, and says what it said.
    assert_eq!(project.read(LOCK), lock);
}

/// A bundle has all that this channel's image is made of: releases by either digest, a pulled image's parts, one's own file.
/// A site that has nothing but the packages' base makes the same image of it, without network and without the file.
fn goes_where_no_network_is(project: &Project) {
    let digest = Sha256::of(fs::read(project.folder.join("images/node.qcow2")).unwrap()).to_string();
    project.ok(&["bundle", "create", "node", "--inputs", "--offline", "--out", "node.bundle"]);
    let site = fresh_folder("upstream-site");
    // Only what the packages came to, which takes long: nothing that was made of an artifact or an image.
    fs::create_dir_all(site.join("store/actions")).unwrap();
    fs::create_dir_all(site.join("store/blobs/sha256")).unwrap();
    fs::copy(project.folder.join("store/format"), site.join("store/format")).unwrap();
    for entry in fs::read_dir(project.folder.join("store/actions")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("base-") {
            let action: Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
            fs::copy(entry.path(), site.join("store/actions").join(entry.file_name())).unwrap();
            for blob in action["outputs"].as_object().unwrap().values() {
                let name = format!("store/blobs/sha256/{}", blob["digest"].as_str().unwrap());
                if !site.join(&name).exists() {
                    fs::hard_link(project.folder.join(&name), site.join(&name)).unwrap();
                }
            }
        }
    }
    let run = |args: &[&str]| {
        let words = if judge("id", &["-u"]).trim() == "0" { &["--net"][..] } else { &["--net", "--map-root-user"] };
        let mut command = crate::support::program::kbake_by("unshare", words, &site);
        command.args(args).args(["--store", path(&site.join("store"))]).env("KBAKE_CHANNEL", "fake");
        ok(command.output().expect("unshare is missing: run tests/setup.sh"))
    };
    let imported = run(&["bundle", "import", path(&project.folder.join("node.bundle")), "--project-to", "project"]);
    assert_eq!(text(&imported.stdout), format!("node sha256:{digest} to-be-built\n"), "{}", text(&imported.stderr));
    assert!(!site.join("project/mine").exists() && !site.join("project").join(AGENT).exists());
    let built = run(&["--project", "project", "build", "node", "--offline"]);
    assert!(text(&built.stderr).contains("node: built"), "{}", text(&built.stderr));
    assert_eq!(digest_in(&text(&built.stdout)), digest);
    fs::remove_dir_all(&site).unwrap();
}

/// A member that a published archive lacks, and a platform that an image lacks, are errors that name them.
fn tells_what_is_not_in_there(project: &Project, registry: &Registry) {
    let file = "recipes/sources/fake.toml";
    let (sources, lock) = (project.read(file), project.read(LOCK));
    project.write(file, &sources.replacen("pause = \"3.10.2\"", "pause = \"3.10.99\"", 1));
    project.ok(&["lock", "--upgrade", "pause"]);
    let name = format!("{}/k8s/pause:3.10.99", registry.address);
    for args in [&["fetch", "node"][..], &["build", "node"]] {
        project.fails(USER, args, &[&name, "amd64", "arm64"]);
    }
    project.write(LOCK, &lock);
    project.write(file, &sources.replacen("members = [\"crictl\"]", "members = [\"crictl\", \"critest\"]", 1));
    project.ok(&["lock", "--check"]);
    project.fails(
        INTEGRITY,
        &["build", "node"],
        &["crictl", "`critest` does not exist in it", "it has: crictl, README", "`members` and `strip`"],
    );
    project.write(file, &sources);
    project.ok(&["lock", "--check"]);
}
