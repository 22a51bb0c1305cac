//! Maintainer scripts that try to escape, row by row, each checked from outside: real packages, a real dpkg, the whole program, as root
//! and as an ordinary user.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, PoisonError};

use super::ALONE;
use crate::support::site::{ONE, Site, TOOL, TWO, says};
use crate::support::web::{Answer, Web};
use crate::support::{OTHER_USER, program};

/// A harmless setting of the kernel.
const SETTING: &str = "/proc/sys/vm/stat_interval";
/// Programs for a root in which dpkg can install.
const PROGRAMS: &[&str] = &[
    "sh",
    "perl",
    "dpkg",
    "dpkg-deb",
    "dpkg-query",
    "dpkg-split",
    "dpkg-trigger",
    "tar",
    "rm",
    "diff",
    "ldconfig",
    "start-stop-daemon",
    "cat",
    "mount",
    "umount",
    "mkdir",
    "mknod",
    "unshare",
    "sleep",
    "env",
    "true",
    "sed",
];

/// An attempt: its name, what the script does, and what must not be found outside afterwards.
struct Row {
    name: &'static str,
    script: &'static str,
    harm: fn(&mut Host, &str) -> bool,
}

/// Things on the host that no script may reach.
struct Host {
    site: Site,
    port: TcpListener,
    socket: UnixListener,
    socket_name: String,
    victim: Child,
    setting: String,
}

/// Words that only files or processes of the host have.
const KEY: &str = "canary-of-a-private-key";
const CLUSTER: &str = "canary-of-a-project";
const STORED: &str = "canary-of-a-store";
const OPENED: &str = "canary-of-a-descriptor";
/// The arguments of the host's process, and of one that a script leaves behind.
const VICTIM: &str = "98761.25";
const DAEMON: &str = "98761.5";
const PLANTED: &str = "planted";

fn rows() -> Vec<Row> {
    fn shows_key(_: &mut Host, said: &str) -> bool {
        said.contains(KEY)
    }
    fn has_login(host: &mut Host, _: &str) -> bool {
        host.site.read("home/.ssh/authorized_keys").contains(PLANTED)
    }
    fn reached(name: &str, said: &str) -> bool {
        said.contains(&format!("reached {name}"))
    }
    vec![
        Row { name: "key by proc", script: "told(slurp($_ . $host{key})) for roots()", harm: shows_key },
        Row { name: "key by chroot", script: "out(); told(slurp($host{key}))", harm: shows_key },
        Row {
            name: "unmounting",
            script: "out(); run('umount -l /proc /kbake /usr/share /dev/null'); told(slurp($_ . $host{key})) for '', '/kbake', '/proc'",
            harm: shows_key,
        },
        Row {
            name: "key by disk",
            script: r#"for (slurp('/proc/partitions') =~ /(\d+ +\d+) +\d+ \S+$/mg) {
                run("mknod /tmp/disk b $_"); mkdir '/tmp/at'; run('mount -o ro /tmp/disk /tmp/at'); told(slurp("/tmp/at$host{key}")); run('umount /tmp/at; rm -f /tmp/disk');
            }"#,
            harm: shows_key,
        },
        Row { name: "login by proc", script: "append($_ . $host{login}) for roots()", harm: has_login },
        Row { name: "login by chroot", script: "out(); append($host{login})", harm: has_login },
        Row {
            name: "project",
            script: "told(slurp($_ . $host{project})) for roots(); out(); told(slurp($host{project}))",
            harm: |_, said| said.contains(CLUSTER),
        },
        Row {
            name: "store",
            script: "told(slurp($_ . $host{store})) for roots(); out(); told(slurp($_)) for $host{store}, glob('/kbake/../*'), glob('/kbake/../../*')",
            harm: |_, said| said.contains(STORED),
        },
        Row {
            name: "processes",
            script: "told(slurp($_)) for glob '/proc/[0-9]*/cmdline'; out(); told(slurp($_)) for glob '/proc/[0-9]*/cmdline'",
            harm: |_, said| said.contains(VICTIM),
        },
        Row { name: "signal", script: "kill 9, $host{victim}", harm: |host, _| !matches!(host.victim.try_wait(), Ok(None)) },
        Row {
            name: "loopback",
            script: "socket(my $s, 2, 1, 0); connect($s, pack 'S n C4 x8', 2, $host{port}, 127, 0, 0, 1)",
            harm: |host, _| !matches!(host.port.accept(), Err(e) if e.kind() == ErrorKind::WouldBlock),
        },
        Row {
            name: "abstract socket",
            script: "socket(my $s, 1, 1, 0); connect($s, pack 'S x a*', 1, $host{socket})",
            harm: |host, _| !matches!(host.socket.accept(), Err(e) if e.kind() == ErrorKind::WouldBlock),
        },
        Row {
            name: "setting",
            script: "mkdir '/tmp/p'; run('mount -t proc proc /tmp/p'); out(); for (\"/proc/sys/vm/stat_interval\", '/tmp/p/sys/vm/stat_interval') { open my $f, '>', $_ or next; syswrite $f, '17' }",
            harm: |host, _| fs::read_to_string(SETTING).unwrap() != host.setting,
        },
        Row {
            name: "sysrq",
            script: "out(); open my $f, '>', '/proc/sysrq-trigger' or exit; syswrite $f, 'h' and told('reached sysrq')",
            harm: |_, said| reached("sysrq", said),
        },
        Row {
            name: "sysfs",
            script: "told('reached sysfs') if -d '/sys/class'; out(); run('mount -t sysfs sysfs /tmp'); told('reached sysfs') if -d '/sys/class' || -d '/tmp/class'",
            harm: |_, said| reached("sysfs", said),
        },
        Row {
            name: "control groups",
            script: "mkdir '/tmp/c'; told('reached control groups') if run(q(unshare -C sh -c 'mount -t cgroup2 c /tmp/c || mount -t cgroup -o freezer c /tmp/c; cat /tmp/c/cgroup.procs'))",
            harm: |_, said| reached("control groups", said),
        },
        Row {
            name: "more rights",
            script: "told('reached more rights') if run('unshare -U echo yes || unshare -n echo yes')",
            harm: |_, said| reached("more rights", said),
        },
        Row {
            name: "descriptors",
            script: "for my $fd (glob '/proc/[0-9]*/fd/*') { next if !-f $fd; told(slurp($fd)); append($fd) } for my $fd (3 .. 20) { open(my $f, '<&=', $fd) or next; next if !-f $f; local $/; told(<$f> // '') }",
            harm: |host, said| said.contains(OPENED) || host.site.read("opened").contains(PLANTED),
        },
        Row {
            name: "tools",
            script: "out(); run('mount -o remount,bind,rw /usr/bin; mount -o remount,rw /'); append('/usr/bin/kbake-was-here'); append($_ . '/usr/bin/kbake-was-here') for roots()",
            harm: |_, _| Path::new("/usr/bin/kbake-was-here").exists(),
        },
        Row {
            name: "work folder",
            script: "out(); run('mount -o remount,bind,rw /kbake'); told('reached work folder') if rename('/kbake/debs', '/kbake/tmp/debs') || open my $f, '>', '/kbake/new'",
            harm: |_, said| reached("work folder", said),
        },
        Row {
            name: "daemon",
            script: "require POSIX; if (!fork) { POSIX::setsid(); if (!fork) { close $_ for *STDIN, *STDOUT, *STDERR; exec 'sleep', $host{daemon} } }",
            harm: |_, _| lives(DAEMON),
        },
    ]
}

/// True when a process with this word among its arguments runs.
fn lives(word: &str) -> bool {
    let arguments = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    fs::read_dir("/proc").unwrap().flatten().any(|entry| arguments(entry).split(|&b| b == 0).any(|argument| argument == word.as_bytes()))
}

fn ran(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|e| panic!("{name} is missing: run tests/setup.sh ({e})"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A package as dpkg-deb makes it: fields, files of the host under their own names, and a script.
fn package(fields: &str, files: &[(PathBuf, PathBuf)], postinst: Option<&str>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("DEBIAN")).unwrap();
    fs::create_dir_all(root.join("usr/share")).unwrap();
    fs::write(root.join("DEBIAN/control"), format!("Version: 1\nArchitecture: all\nMaintainer: nobody\nDescription: a test\n{fields}"))
        .unwrap();
    if fields.contains("Essential") {
        // The folders that mmdebstrap mounts to, as base-files has them.
        ["proc", "dev", "tmp", "etc"].iter().for_each(|folder| fs::create_dir(root.join(folder)).unwrap());
    }
    if let Some(script) = postinst {
        fs::write(root.join("usr/share/own"), "control").unwrap();
        fs::write(root.join("DEBIAN/postinst"), script).unwrap();
        ran(Command::new("chmod").arg("755").arg(root.join("DEBIAN/postinst")));
    }
    for (from, to) in files {
        let to = root.join(to.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        ran(Command::new("cp").args(["-rL", "--"]).arg(from).arg(to));
    }
    let file = folder.path().join("it.deb");
    ran(Command::new("dpkg-deb").args(["--root-owner-group", "-Zgzip", "-z1", "--build"]).arg(&root).arg(&file).stderr(Stdio::null()));
    fs::read(file).unwrap()
}

/// The host's programs with all that they load, as a base in which dpkg can install.
static SYSTEM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let program = |name: &&str| {
        let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(|folder| Path::new(folder).join(name));
        places.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("{name} is missing: run tests/setup.sh"))
    };
    let programs: Vec<PathBuf> = PROGRAMS.iter().map(program).collect();
    let said = ran(Command::new("ldd").args(&programs));
    let text = String::from_utf8(said.stdout).unwrap();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).map(PathBuf::from);
    let merged = |path: PathBuf| if path.starts_with("/usr") { path } else { Path::new("/usr").join(path.strip_prefix("/").unwrap()) };
    let mut files: Vec<(PathBuf, PathBuf)> = programs.into_iter().chain(libraries).map(|path| (path.clone(), merged(path))).collect();
    let modules = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path().join("perl-base")).find(|path| path.exists());
    let modules = modules.expect("perl-base is missing: run tests/setup.sh");
    files.push((modules.clone(), modules));
    files.sort();
    files.dedup();
    package("Package: one\nEssential: yes\n", &files, None)
});

/// The project's role has a package with this script; the mirror has all packages.
fn arm(site: &Site, postinst: &str) -> Web {
    let web = Web::start();
    let two = package("Package: two\nDepends: one\n", &[], Some(postinst));
    let mmdebstrap = PathBuf::from("/usr/bin/mmdebstrap");
    let tool = package("Package: mmdebstrap\n", &[(mmdebstrap.clone(), mmdebstrap)], None);
    site.lock(&[(ONE, &SYSTEM), (TWO, &two), (TOOL, &tool)]);
    for (path, bytes) in [(ONE, SYSTEM.clone()), (TWO, two), (TOOL, tool)] {
        web.answer(path, Answer::File(bytes));
    }
    web
}

impl Host {
    /// With all that is worth reaching, where it always is.
    fn new() -> Host {
        let site = Site::new();
        fs::create_dir_all(site.path("home/.ssh")).unwrap();
        let files = [("home/.ssh/id", KEY), ("home/.ssh/authorized_keys", ""), ("private", CLUSTER), ("opened", OPENED)];
        files.iter().for_each(|(name, word)| site.write(name, word));
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        port.set_nonblocking(true).unwrap();
        let socket_name = format!("kbake hostile {}", port.local_addr().unwrap().port());
        let socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&socket_name).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let victim = Command::new("sleep").arg(VICTIM).spawn().unwrap();
        Host { site, port, socket, socket_name, victim, setting: fs::read_to_string(SETTING).unwrap() }
    }

    /// The script that tries all rows.
    fn script(&self) -> String {
        let at = |name: &str| self.site.path(name).display().to_string();
        let host = [
            ("key", at("home/.ssh/id")),
            ("login", at("home/.ssh/authorized_keys")),
            ("project", at("private")),
            ("store", at("home/.cache/kbake/other")),
            ("victim", self.victim.id().to_string()),
            ("port", self.port.local_addr().unwrap().port().to_string()),
            ("socket", self.socket_name.clone()),
            ("daemon", DAEMON.to_owned()),
        ];
        let values: String = host.iter().map(|(name, value)| format!("$host{{{name}}} = '{value}';\n")).collect();
        let attempts: String = rows().iter().map(|row| format!("$rows{{'{}'}} = sub {{ {} }};\n", row.name, row.script)).collect();
        format!("#!/usr/bin/perl\nuse strict;\nmy (%host, %rows);\n{values}{attempts}{}", include_str!("escapes.pl"))
    }

    /// Builds the role as `user`, with open descriptors that the build must not inherit. Returns its output.
    fn build(&self, user: Option<&str>, web: &Web) -> String {
        program::copy_to(self.site.dir.path());
        let mut command = Command::new(if user.is_some() { "setpriv" } else { "env" });
        if let Some(user) = user {
            ran(Command::new("chown").args(["-R", user]).arg(self.site.dir.path()));
            command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]);
        }
        let script = "./kbake fetch etcd --mirror \"$1\" && printf '%s' \"$2\" >home/.cache/kbake/other || exit
            exec 7<opened 8>>opened; exec ./kbake build etcd";
        command.args(["sh", "-c", script, "sh", &web.base, STORED]);
        let output = surroundings(&self.site, &mut command).output().expect("setpriv is missing: run tests/setup.sh");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

/// The site's own home and settings.
fn surroundings<'a>(site: &Site, command: &'a mut Command) -> &'a mut Command {
    command.current_dir(site.dir.path()).env_clear().stdin(Stdio::null()).env("HOME", site.path("home"));
    command.env("APT_CONFIG", site.path("home/apt.conf")).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("KBAKE_CHANNEL", "debian")
}

fn is_root() -> bool {
    ran(Command::new("id").arg("-u")).stdout == b"0\n"
}

#[test]
fn scripts_of_packages_reach_nothing_of_the_host() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // An ordinary user can only test as itself.
    let users: &[Option<&str>] = if is_root() { &[None, Some(OTHER_USER)] } else { &[None] };
    let mut wrong = Vec::new();
    for user in users {
        let mut host = Host::new();
        let web = arm(&host.site, &host.script());
        let said = host.build(*user, &web);
        assert!(said.contains("own control"), "the script ran to its end, and what it says is heard: {said}");
        for row in rows() {
            assert!(said.contains(&format!("tried {}\n", row.name)), "{}: {said}", row.name);
            if (row.harm)(&mut host, &said) {
                wrong.push(format!("{} as {}", row.name, user.unwrap_or("the caller")));
            }
        }
        let left = fs::read_dir(host.site.path("home/.cache/kbake/tmp")).unwrap().flatten().map(|entry| entry.path().join("base"));
        assert!(left.into_iter().all(|folder| !folder.exists()), "the work folder was emptied");
    }
    assert!(wrong.is_empty(), "scripts reached: {}", wrong.join(", "));
}

/// Runs a build in a mount namespace in which `script` has set something up, as a user for whom that is a hindrance.
fn build_on(site: &Site, web: &Web, script: &str, user: Option<&str>) -> (Option<i32>, String) {
    program::copy_to(site.dir.path());
    fs::create_dir_all(site.path("disk")).unwrap();
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user", "--map-auto"]);
    }
    let mut script = format!("{script}\nset -- ./kbake build etcd --mirror \"$1\" --store disk/store\n");
    if let Some(user) = user.filter(|_| is_root()) {
        ran(Command::new("chown").args(["-R", user]).arg(site.dir.path()));
        script += &format!("set -- setpriv --reuid {user} --regid {user} --init-groups -- \"$@\"\n");
    }
    command.args(["--mount", "sh", "-ec", &format!("{script}exec \"$@\""), "sh", &web.base]);
    let output = surroundings(site, &mut command).output().expect("unshare is missing: run tests/setup.sh");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A disk that fills up while packages are installed, although there seemed to be room.
#[test]
fn a_disk_that_is_full_inside_the_installation_is_called_that() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let site = Site::new();
    // The cause is far above the end of what is said.
    let script =
        "#!/bin/sh\ncat /dev/zero >/large\nfor i in 1 2 3 4 5 6 7 8 9; do for j in 1 2 3 4; do echo line $i $j >&2; done; done\nexit 1\n";
    let web = arm(&site, script);
    let (code, said) = build_on(&site, &web, "mount -t tmpfs -o size=300m none disk", None);
    assert_eq!(code, Some(5), "{said}");
    says(&said, &["mmdebstrap failed", "No space left on device", "hint: nothing was kept half-written; free some space"]);
}

/// A fault that keeps a host from installing is reported before anything is fetched for it.
#[test]
fn a_host_that_cannot_install_fetches_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    type Case = (&'static str, Option<&'static str>, i32, &'static [&'static str]);
    let mut cases: Vec<Case> = vec![
        ("mount -t tmpfs -o noexec none disk", None, 1, &["is on a filesystem that is mounted noexec", "hint: point $KBAKE_STORE"]),
        ("mount -t tmpfs -o size=8m none disk", None, 5, &["not enough space for the store", "estimated for 2 packages", "hint: free "]),
        (
            // The default of container engines.
            "mount -t tmpfs none /proc/sys/kernel",
            None,
            1,
            &["this host cannot confine the packages' scripts", "all of /proc, nothing masked"],
        ),
    ];
    if is_root() {
        let hide = "mount --bind /dev/null /usr/bin/newuidmap";
        cases.push((hide, Some(OTHER_USER), 1, &["newuidmap (Debian package uidmap)", "hint: as root: apt-get install uidmap"]));
    }
    for (script, user, expected, words) in cases {
        let site = Site::new();
        let web = arm(&site, "#!/bin/sh\n");
        let (code, said) = build_on(&site, &web, script, user);
        assert_eq!(code, Some(expected), "{script}: {said}");
        says(&said, words);
        assert!(web.requests().is_empty(), "{script}: {:?}", web.requests());
    }
}
