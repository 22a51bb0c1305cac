//! From the lockfile to a booted node: one real build (by two processes at once), checked by reference tools, booted under
//! emulation, and repeated under conditions that must not matter. Fetches about 110 MB from the host's package mirrors.

mod proof;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use kbake::disk::raw;
use kbake::fetch;
use kbake::project::Project;
use kbake::report::Silent;
use kbake::store::{Access, Lookup, Store};
use kbake::value::{Cancel, Sha256};
use kbake::{Bake, Resolved};

use crate::support::baked::{self, BOOT_DEADLINE, canaries, fresh_folder, holds_no_identity, holds_no_secret, judge, ok, path, text};
use crate::support::{OTHER_USER, ROOT, program};
use crate::vm::{self, Machine, Network, Setup, SshKey, Vm};

/// A finished build.
struct Built {
    folder: PathBuf,
    digest: String,
}

impl Built {
    fn image(&self) -> PathBuf {
        self.folder.join("images/etcd.qcow2")
    }

    fn store(&self) -> PathBuf {
        self.folder.join("store")
    }
}

/// The build that all tests use: cold, by two processes at once on one store.
static BUILT: LazyLock<Built> = LazyLock::new(|| {
    let folder = fresh_folder("e2e");
    let start = |out: &str| {
        let mut command = kbake(&folder, &["build", "etcd", "--verify", "--out", out]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kbake starts")
    };
    let (first, second) = (start("images"), start("images2"));
    let [first, second] = [first, second].map(|child| ok(child.wait_with_output().expect("kbake ends")));
    let said = |output: &Output| text(&output.stderr);
    let installed = [&first, &second].iter().filter(|output| said(output).contains("reading the tree")).count();
    assert_eq!(installed, 1, "two builds at once install once:\n{}\n---\n{}", said(&first), said(&second));
    let digest = digest_of(&first);
    assert_eq!(digest, digest_of(&second));
    // Some tests remove parts of the store; others begin with the present one.
    copy_store(&folder.join("store"), &folder.join("pristine"));
    Built { folder, digest }
});

/// Another store with the same files, as hard links: no process writes to them in place.
fn copy_store(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for part in ["format", "blobs", "actions", "roots"] {
        judge("cp", &["-al", path(&from.join(part)), path(to)]);
    }
}

/// A kbake that works in `folder`, with its own store there.
fn kbake(folder: &Path, args: &[&str]) -> Command {
    baked::kbake(program::project(), folder, args)
}

/// The digest in the line `images/etcd.qcow2 sha256:…` on stdout.
fn digest_of(output: &Output) -> String {
    let line = text(&output.stdout);
    let digest = line.trim_end().split_once(" sha256:").unwrap_or_else(|| panic!("no digest in {line:?}")).1;
    assert_eq!(digest.len(), 64, "{line:?}");
    digest.to_owned()
}

#[test]
fn the_digest_is_the_recorded_one() {
    let recorded = fs::read_to_string(Path::new(ROOT).join("images/expected.toml")).unwrap();
    let plan = text(&ok(kbake(&BUILT.folder, &["plan", "--key", "etcd"]).output().unwrap()).stdout);
    assert!(
        recorded.contains(&format!("plan = \"{}\"", plan.trim_end())),
        "images/expected.toml is of another plan; `kbake build etcd` prints the lines that belong there"
    );
    assert!(recorded.contains(&format!("image = \"{}\"", BUILT.digest)), "kbake built sha256:{}, recorded is\n{recorded}", BUILT.digest);
    assert!(judge("sha256sum", &[path(&BUILT.image())]).starts_with(&BUILT.digest));
}

#[test]
fn the_store_is_used_and_does_not_show() {
    let output = ok(kbake(&BUILT.folder, &["build", "etcd", "--offline"]).output().unwrap());
    assert_eq!(digest_of(&output), BUILT.digest);
    assert!(text(&output.stderr).contains("etcd: up to date"), "{}", text(&output.stderr));
    let events = text(&ok(kbake(&BUILT.folder, &["build", "etcd", "--offline", "--json"]).output().unwrap()).stdout);
    let events: Vec<serde_json::Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let digest = format!("sha256:{}", BUILT.digest);
    for (event, kind, path) in [(&events[0], "image", None), (&events[1], "file", Some("images/etcd.qcow2"))] {
        assert_eq!(
            (&event["event"], &event["kind"], &event["digest"]),
            (&"cached".into(), &kind.into(), &digest.as_str().into()),
            "{event}"
        );
        assert_eq!(event["path"].as_str(), path, "{event}");
    }
    assert!(events.len() == 3 && events[2]["event"] == "done", "a warm build looks at nothing else: {events:?}");
    // A changed output may be a machine's disk, and stays; a lost one comes back from the store.
    let other = BUILT.folder.join("images2/etcd.qcow2");
    fs::remove_file(&other).unwrap();
    fs::write(&other, "changed").unwrap();
    let output = kbake(&BUILT.folder, &["build", "etcd", "--offline", "--out", "images2"]).output().unwrap();
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("is not replaced"), "{}", text(&output.stderr));
    assert_eq!(fs::read(&other).unwrap(), b"changed");
    fs::remove_file(&other).unwrap();
    let output = ok(kbake(&BUILT.folder, &["build", "etcd", "--offline", "--out", "images2"]).output().unwrap());
    assert!(text(&output.stderr).contains("etcd: taken from the store"), "{}", text(&output.stderr));
    assert!(judge("sha256sum", &[path(&other)]).starts_with(&BUILT.digest));

    // Cold in a warm store: the image is composed again with its boot loader; of kept frames, or of none.
    for (forgotten, jobs) in [
        (&["boot-", "image-"][..], "2"),
        (&["boot-", "image-", "composed-"], "16"),
        (&["boot-", "image-", "composed-", "frames-"], "1"),
        (&["boot-", "image-", "frames-"], "3"),
    ] {
        for entry in fs::read_dir(BUILT.store().join("actions")).unwrap() {
            let entry = entry.unwrap();
            if forgotten.iter().any(|kind| entry.file_name().to_str().unwrap().starts_with(kind)) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        // The base is in the store, and the tool that the disk needs is not: it is fetched again.
        let plan = text(&ok(kbake(&BUILT.folder, &["plan", "etcd"]).output().unwrap()).stdout);
        let tool = plan.lines().find_map(|line| line.strip_prefix("tool grub-pc-bin ")).expect("the plan names GRUB's package");
        fs::remove_file(BUILT.store().join("blobs/sha256").join(tool)).unwrap();
        let output = ok(kbake(&BUILT.folder, &["build", "etcd", "--jobs", jobs, "--out", "images3"]).output().unwrap());
        let said = text(&output.stderr);
        assert!(said.contains("etcd: built"));
        assert_eq!(digest_of(&output), BUILT.digest, "{jobs} jobs, without {forgotten:?}");
        let rows: Vec<String> = said.lines().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")).collect();
        for row in ["cached 1 base", "fetched 1 input", "built 1 image"] {
            assert!(rows.iter().any(|found| found == row), "`{row}` is not in the table:\n{said}");
        }
    }
}

#[test]
fn foreign_tools_find_no_fault() {
    let image = BUILT.image();
    assert!(judge("qemu-img", &["check", path(&image)]).contains("No errors were found"));

    // The same disk, written raw.
    let folder = fresh_folder("e2e-raw");
    let disk = folder.join("disk.raw");
    write_raw(&disk);
    assert!(judge("qemu-img", &["compare", path(&image), path(&disk)]).contains("Images are identical"));
    assert!(judge("sgdisk", &["-v", path(&disk)]).contains("No problems found"));

    let root = folder.join("root.ext4");
    let skip = (kbake::ROOT_START >> 20).to_string();
    judge(
        "dd",
        &[&format!("if={}", path(&disk)), &format!("of={}", path(&root)), "bs=1M", &format!("skip={skip}"), "conv=sparse", "status=none"],
    );
    let checked = judge("e2fsck", &["-fn", path(&root)]);
    assert!(checked.contains("kbake-root: ") && !checked.contains("ix? no"), "{checked}");
    // A capability as debugfs shows it.
    let capability = judge("debugfs", &["-R", "ea_get -x /usr/bin/ping security.capability", path(&root)]);
    assert!(capability.contains("01 00 00 02 00 20 00 00"), "cap_net_raw is lost: {capability}");
    let owner = judge("debugfs", &["-R", "stat /var/lib/etcd", path(&root)]);
    assert!(owner.contains("Mode:  0700"), "{owner}");
    fs::remove_dir_all(&folder).unwrap();
}

/// Lays the disk out once more and writes it raw, through the library.
fn write_raw(to: &Path) {
    let cancel = Cancel::new();
    let store = Store::open(&BUILT.store(), Access::Shared, &cancel, &|| ()).unwrap();
    let project = Project::find(Some(program::project()), program::project()).unwrap();
    let channel = project.channel("debian").unwrap();
    let resolved = kbake::resolve(&project, &channel, &project.role("etcd").unwrap(), &Cancel::new()).unwrap();
    let offline = fetch::Options { offline: true, ..fetch::Options::default() };
    let bake = Bake { store: &store, fetch: offline, host_mirrors: &|_| Ok(Vec::new()), jobs: 1, report: &Silent, cancel: &cancel };
    let filesystem = bake.tree(&resolved).unwrap();
    let disk = bake.disk(&resolved, &filesystem).unwrap();
    raw::write(&disk, &filesystem.contents, &mut File::create(to).unwrap(), &cancel).unwrap();
}

#[test]
fn the_tree_holds_no_identity() {
    let tree = text(&ok(kbake(&BUILT.folder, &["tree", "etcd", "--offline", "--plain"]).output().unwrap()).stdout);
    holds_no_identity(&tree);
    let line = |path: &str| tree.lines().find(|line| line.split(' ').nth(1) == Some(path));
    assert!(line("/var/lib/etcd").is_some_and(|line| line.starts_with("dir /var/lib/etcd 0700 ")));
}

/// Runs "$@" with the minimal /dev of an unprivileged process: no KVM, no loop device, no disk.
const WITHOUT_DEVICES: &str = r#"
set -eu; folder=$1; shift
mkdir "$folder/dev"
mount -t tmpfs -o mode=0755 none "$folder/dev"
for node in null zero full random urandom tty; do
    touch "$folder/dev/$node"
    mount --bind "/dev/$node" "$folder/dev/$node"
done
ln -s /proc/self/fd "$folder/dev/fd"
mount --rbind "$folder/dev" /dev
exec "$@"
"#;

/// Checks that devices and network are missing, then builds from the store.
const BAKE: &str = r#"
set -eu; umask 077; cd "$1"; export HOME="$1/home"
for device in /dev/kvm /dev/loop* /dev/mapper /dev/sd* /dev/vd* /dev/fuse; do ! test -e "$device" || { echo "$device is there"; exit 99; }; done
test "$(sed -n '3,$s/ *\([^:]*\):.*/\1/p' /proc/net/dev)" = lo || { echo "there is a network"; exit 99; }
! grep -q 127 /proc/net/fib_trie || { echo "the loopback is up"; exit 99; }
test ! -e "s t o r e/actions" || test -z "$(ls "s t o r e/actions")" || { echo "the store has more than inputs"; exit 99; }
! test -w /etc/passwd || { echo "this is a privileged user"; exit 99; }
exec ./kbake build etcd --channel debian --jobs 1 --accept-new-digest --store "$1/s t o r e"
"#;

#[test]
fn the_image_passes_its_own_audit() {
    let output = ok(kbake(&BUILT.folder, &["audit", path(&BUILT.image())]).output().unwrap());
    assert!(text(&output.stdout).contains("images/etcd.qcow2: clean: "), "{}", text(&output.stdout));
}

#[test]
fn the_same_image_wherever_and_however_it_is_built() {
    let folder = Path::new("/tmp").join(format!("kbake e2e-{}", std::process::id()));
    let _cleanup = Cleanup(folder.clone());
    // The other user can read the program, and nothing of the checkout.
    fs::create_dir(&folder).unwrap();
    program::copy_to(&folder);
    let is_root = text(judge("id", &["-u"]).trim().as_bytes()) == "0";
    let fetch = "set -eu; umask 077; cd \"$1\"; mkdir home; export HOME=\"$1/home\"; exec ./kbake fetch etcd --channel debian --store \"$1/s t o r e\"";
    let as_other: &[&str] = if is_root { &["setpriv", "--reuid", OTHER_USER, "--regid", OTHER_USER, "--init-groups", "--"] } else { &[] };
    // An ordinary user keeps the ids that the base needs, and may mount in a namespace of its own, where it is root.
    let alone: &[&str] = if is_root {
        &["unshare", "--net", "--mount"]
    } else {
        &["unshare", "--user", "--map-root-user", "--map-auto", "--net", "--mount"]
    };
    if is_root {
        judge("chown", &[OTHER_USER, path(&folder)]);
    }
    let run = |words: &[&[&str]]| {
        let words = words.concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TZ", "Pacific/Chatham").env("LC_ALL", "tr_TR.UTF-8").env("LANG", "de_DE");
        ok(command.output().unwrap_or_else(|e| panic!("{} is missing: run tests/setup.sh ({e})", words[0])))
    };
    run(&[as_other, &["sh", "-c", fetch, "sh", path(&folder)]]);
    let hidden = ["sh", "-c", WITHOUT_DEVICES, "sh", path(&folder)];
    let output = run(&[alone, &hidden, as_other, &["sh", "-c", BAKE, "sh", path(&folder)]]);
    assert_eq!(
        digest_of(&output),
        BUILT.digest,
        "another user, folder, umask, time zone, locale and store, one job, no network, no devices:\n{}",
        text(&output.stderr)
    );
}

/// Removes a folder at the end, also of a failing test.
struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A cluster of one member, on the network that [`MEMBER`] describes, with its data on a disk of its own and all that a site may add.
fn cluster_file(key: &SshKey) -> String {
    format!(
        "name = \"e2e\"\nssh-keys = [\"{}\"]\nntp = [\"192.168.30.1\"]\nca-certificates = [\"secrets/e2e/front-proxy-ca.crt\"]\n\n\
         [network]\ncidr = \"192.168.30.0/24\"\n\n\
         [[node]]\nrole = \"etcd\"\nname = \"etcd0\"\nmac = \"52:54:00:12:34:56\"\n\
         data-disk = \"1 GiB\"\ndata-mount = \"/var/lib/etcd\"\nuser-data = \"more.yaml\"\n",
        key.public
    )
}

/// A user's additions to the member's user-data: a command early in the boot, and one at the end.
const MORE: &str = "#cloud-config\nbootcmd:\n- findmnt -no FSTYPE /var/lib/etcd >/run/early\n\
                    write_files:\n- path: /etc/more\n  content: \"more\\n\"\nruncmd:\n- [touch, /run/late]\n";

const MEMBER: Network = Network::Static { cidr: "192.168.30.0/24", host: "192.168.30.1", guest: "192.168.30.10", mac: "52:54:00:12:34:56" };

#[test]
fn the_node_boots_and_etcd_speaks_mutual_tls_only() {
    let key = SshKey::generate("debian");
    let folder = &BUILT.folder;
    fs::write(folder.join("cluster.toml"), cluster_file(&key)).unwrap();
    fs::write(folder.join("more.yaml"), MORE).unwrap();
    let mut said = Vec::new();
    for args in [&["pki", "init"][..], &["pki", "show"], &["seed", "--all"], &["disk", "--all"], &["qemu", "etcd0"], &["pki", "init"]] {
        let output = ok(kbake(folder, args).output().unwrap());
        said.extend([output.stdout, output.stderr].concat());
    }
    let canaries = canaries(&folder.join("secrets"));
    holds_no_secret("what kbake says", &said, &canaries);

    let (image, disk, seed) = (BUILT.image(), folder.join("images/disks/e2e/etcd0.qcow2"), folder.join("images/seeds/e2e/etcd0.iso"));
    let data = folder.join("images/disks/e2e/etcd0.data.qcow2");
    let before = judge("sha256sum", &[path(&image)]);
    let setup = Setup {
        machine: Machine::Q35,
        memory_mib: 1024,
        disks: &[&disk, &seed, &data],
        network: MEMBER,
        ports: &[2379, 22],
        further: &[],
        others: &[],
    };
    let mut vm = Vm::start(&setup);

    // A real client on the host, with one certificate and authority or another.
    let port = vm.port(2379);
    let secrets = folder.join("secrets/e2e");
    let file = |name: &str| path(&secrets.join(name)).to_owned();
    let etcdctl = |scheme: &str, pair: Option<&str>, args: &[&str]| {
        let mut command = Command::new("etcdctl");
        command.arg(format!("--endpoints={scheme}://127.0.0.1:{port}"));
        command.args(["--command-timeout=60s", "--dial-timeout=30s", "--cacert", &file("etcd-ca.crt")]);
        if let Some(pair) = pair {
            command.args(["--cert", &file(&format!("{pair}.crt")), "--key", &file(&format!("{pair}.key"))]);
        }
        vm::output(command.args(args))
    };
    let admin = Some("etcd-admin");
    vm.wait_until("an answer of etcd", BOOT_DEADLINE, || etcdctl("https", admin, &["endpoint", "health"]).status.success().then_some(()));
    println!("etcd answers {:.0?} after power-on", vm.age());
    assert_eq!(text(&ok(etcdctl("https", admin, &["put", "greeting", "hello from the host"])).stdout), "OK\n");
    assert_eq!(text(&ok(etcdctl("https", admin, &["get", "greeting"])).stdout), "greeting\nhello from the host\n");
    // Without a certificate, with one of another authority, and without TLS: no.
    for (scheme, pair) in [("https", None), ("https", Some("admin")), ("http", None)] {
        let refused = etcdctl(scheme, pair, &["get", "greeting", "--command-timeout=10s", "--dial-timeout=10s"]);
        assert!(!refused.status.success(), "{scheme} {pair:?}: {}", text(&refused.stdout));
        assert!(!text(&refused.stdout).contains("hello"), "{scheme} {pair:?}");
    }

    vm.wait_for_ssh(&key, BOOT_DEADLINE);
    // Waits for the boot to be over, cloud-init included; `degraded` would mean failed units.
    let state = text(&vm.ssh(&key, "systemctl is-system-running --wait").stdout);
    let failed = vm.ssh_ok(&key, "systemctl --failed --no-legend --plain");
    assert_eq!((state.trim(), failed.trim()), ("running", ""), "no unit may have failed");
    assert_eq!(vm.ssh_ok(&key, "hostname").trim(), "etcd0");
    assert_eq!(vm.ssh_ok(&key, "hostname --fqdn").trim(), "etcd0.e2e.internal");
    assert_eq!(vm.ssh_ok(&key, "getent ahostsv4 etcd0 | head -1").split_ascii_whitespace().next(), Some("192.168.30.10"));
    let keys = vm.ssh_ok(&key, "sudo sh -c \"stat -c '%U %a' /etc/etcd/pki/*.key\"");
    assert!(keys.lines().count() == 2 && keys.lines().all(|line| line == "etcd 400" || line == "etcd 600"), "{keys}");
    let size: u64 = vm.ssh_ok(&key, "df --output=size -B1 / | tail -1").trim().parse().unwrap();
    assert!(size > 18 << 30, "the root filesystem has grown to {size} bytes only, the disk has 20 GiB");
    assert_eq!(vm.ssh_ok(&key, "stat -c '%U %a' /var/lib/etcd").trim(), "etcd 700");
    // On its own disk, which was empty, before etcd began to write.
    assert_eq!(vm.ssh_ok(&key, "findmnt -no FSTYPE,LABEL /var/lib/etcd").split_whitespace().collect::<Vec<_>>(), ["ext4", "kbake-data"]);
    assert_eq!(vm.ssh_ok(&key, "sudo ls -A /var/lib/etcd | sort | head -1").trim(), "member");
    // The site's and the user's additions: before services and after them.
    assert_eq!(
        vm.ssh_ok(&key, "cat /run/early /etc/more; ls /run/late; hostname").split_whitespace().collect::<Vec<_>>(),
        ["ext4", "more", "/run/late", "etcd0"]
    );
    vm.ssh_ok(&key, "openssl verify -CApath /etc/ssl/certs /usr/local/share/ca-certificates/kbake-0.crt");
    assert!(vm.ssh_ok(&key, "timedatectl show-timesync --property=SystemNTPServers").trim().ends_with("=192.168.30.1"));
    assert_eq!(vm.ssh_ok(&key, "cat /etc/machine-id | wc -c").trim(), "33", "a machine-id of its own");
    assert_eq!(vm.ssh_ok(&key, "ls /etc/ssh/ssh_host_*_key | wc -l").trim(), "1", "the host key that its seed has");
    // With the file that README's command names, the client accepts this machine and no other.
    let known = secrets.join("known_hosts");
    let strict = |alias: &str| {
        let options = ["-o", &format!("HostKeyAlias={alias}"), "-o", "StrictHostKeyChecking=yes"].map(str::to_owned);
        vm.ssh_known(&key, &known, &options, "true").status.success()
    };
    assert!(
        strict("[127.0.0.1]:22000") && strict("etcd0.e2e.internal") && strict("192.168.30.10"),
        "{}",
        fs::read_to_string(&known).unwrap()
    );
    assert!(!strict("elsewhere"));
    assert_eq!(vm.ssh_ok(&key, "sudo cat /proc/swaps | wc -l").trim(), "1", "no swap");
    // QEMU's gateway address is the host's loopback, unless the network is cut.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let outside = listener.local_addr().unwrap().port();
    let outside = vm.ssh(&key, &format!("timeout 10 bash -c 'exec 3<>/dev/tcp/192.168.30.1/{outside}'"));
    assert!(!outside.status.success(), "the machine reaches more than the forwarded ports");
    println!("{}", vm.ssh_ok(&key, "systemd-analyze").trim());

    // It shuts down, and the image is unchanged.
    vm.ssh(&key, "sudo systemctl poweroff");
    vm.wait_for_exit(BOOT_DEADLINE + vm.age());
    assert_eq!(judge("sha256sum", &[path(&image)]), before);

    // Only the secrets folder and the seed hold the secrets: not the image, not the store, not the console.
    holds_no_secret("the console", vm.console().as_bytes(), &canaries);
    let raw = folder.join("etcd.raw");
    judge("qemu-img", &["convert", "-O", "raw", path(&image), path(&raw)]);
    let mut places = vec![raw.clone(), image, disk];
    places.extend(judge("find", &[path(&BUILT.store()), "-type", "f"]).lines().map(PathBuf::from));
    let patterns = folder.join("canaries");
    fs::write(&patterns, canaries.iter().flat_map(|(_, canary)| [canary.as_slice(), b"\n"].concat()).collect::<Vec<_>>()).unwrap();
    for place in places {
        // grep ends with 1 when it finds nothing; with 2 when it could not look. Zeros end its lines, so that it skips holes.
        let found = vm::output(Command::new("grep").args(["-z", "-c", "-a", "-F", "-f"]).arg(&patterns).arg(&place));
        assert_eq!(found.status.code(), Some(1), "{} holds a secret", place.display());
    }
    // The search finds keys in the seed: it works.
    let found = vm::output(Command::new("grep").args(["-z", "-c", "-a", "-F", "-f"]).arg(&patterns).arg(&seed));
    assert_eq!(found.status.code(), Some(0), "the seed holds its node's keys");
    fs::remove_file(raw).unwrap();
}
