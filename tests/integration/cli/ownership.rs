//! Private files and other people's files: folders that others can change, files in the way, git, and clocks.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};

use crate::support::site::{Site, says};
use crate::support::{ROOT, program};

const CLUSTER: &str = "name = \"lab\"\n\
    ssh-keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw9WoIGA6sY5DGuHnLIAPO9JFFfv4wVMbWoWLz7S9ZJ someone@example\"]\n\
    [network]\ncidr = \"192.168.7.0/24\"\n[[node]]\nrole = \"control-plane\"\n[[node]]\nrole = \"worker\"\n";

/// A site with a cluster and its keys.
fn site() -> Site {
    let site = Site::new();
    site.write("cluster.toml", CLUSTER);
    site.succeeds(&["pki", "init"]);
    site
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn judge(program: &str, args: &[&str], folder: &Path) -> Output {
    let output = Command::new(program).args(args).current_dir(folder).output();
    output.unwrap_or_else(|e| panic!("{program} is missing: run tests/setup.sh ({e})"))
}

/// Puts a small role image where `kbake build` would.
fn image(site: &Site, role: &str) {
    let done = judge("qemu-img", &["create", "-q", "-f", "qcow2", &format!("images/{role}.qcow2"), "4M"], site.dir.path());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A library to preload that replaces functions of the C library.
fn preloaded(site: &Site, source: &str) -> String {
    site.write("preload.c", source);
    let done = judge("cc", &["-shared", "-fPIC", "-o", "preload.so", "preload.c", "-ldl"], site.dir.path());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    site.path("preload.so").display().to_string()
}

#[test]
fn a_folder_that_others_can_change_is_not_taken_wherever_on_the_way_it_is() {
    let site = site();
    image(&site, "worker");
    let seed = |out: &str| site.fails(1, &["seed", "worker", "--out", out]);
    fs::create_dir_all(site.path("a/b")).unwrap();
    for (open, mode) in [("a", 0o777), ("a/b", 0o733), ("a/b", 0o1777)] {
        chmod(&site.path(open), mode);
        says(
            &seed("a/b"),
            &["no seed is written to a/b: ", "can be changed by others", &format!("(mode {mode:04o})"), "hint: chmod go-w "],
        );
        assert_eq!(fs::read_dir(site.path("a/b")).unwrap().count(), 0);
        chmod(&site.path(open), 0o755);
    }
    fs::create_dir(site.path("images/disks")).unwrap();
    for open in ["images", "images/disks"] {
        chmod(&site.path(open), 0o777);
        says(&site.fails(1, &["disk", "worker"]), &["no disk is written to ", "can be changed by others"]);
        says(&seed("images/disks/x"), &["no seed is written to "]);
        chmod(&site.path(open), 0o755);
    }
    site.succeeds(&["disk", "worker"]);
    // The folder of an existing disk is not trusted either.
    chmod(&site.path("images/disks/lab"), 0o777);
    says(&site.fails(1, &["disk", "worker"]), &["no disk is written to images/disks/lab"]);
    chmod(&site.path("images/disks/lab"), 0o711);
    // The targets of links are checked.
    fs::create_dir_all(site.path("open/real")).unwrap();
    chmod(&site.path("open"), 0o777);
    symlink("../open/real", site.path("a/link")).unwrap();
    says(&seed("a/link/new"), &["open can be changed by others"]);
    says(&site.fails(1, &["kubeconfig", "--out", "open/real/config"]), &["no kubeconfig is written to"]);
    says(&site.fails(1, &["pki", "init", "--secrets", "open/real/secrets"]), &["open can be changed by others"]);
    // In a sticky folder such as /tmp others cannot rename it.
    chmod(&site.path("open"), 0o1777);
    site.succeeds(&["seed", "worker", "--out", "open/real"]);
    site.succeeds(&["kubeconfig", "--out", "open/config"]);
}

#[test]
fn a_folder_of_another_user_is_not_taken() {
    let site = site();
    // Only root can give folders away.
    let me = fs::metadata(site.dir.path()).unwrap().uid();
    fs::create_dir_all(site.path("images/disks")).unwrap();
    if chown(site.path("images/disks"), Some(4242), None).is_err() {
        assert_ne!(me, 0);
        return;
    }
    image(&site, "worker");
    says(&site.fails(1, &["disk", "worker"]), &["images/disks belongs to user 4242, and this is user 0", "hint: "]);
    fs::create_dir_all(site.path("theirs/seeds")).unwrap();
    chown(site.path("theirs"), Some(4242), None).unwrap();
    says(&site.fails(1, &["seed", "worker", "--out", "theirs/seeds"]), &["theirs belongs to user 4242"]);
    says(&site.fails(1, &["pki", "init", "--secrets", "theirs/secrets"]), &["theirs belongs to user 4242"]);
}

#[test]
fn the_umask_opens_no_folder() {
    let site = site();
    image(&site, "worker");
    let run = |args: &str| {
        let script = format!("umask 0; exec {{}} {args} --out deep/er/seeds");
        let output = site.at_home(program::kbake_in_line("sh", &["-c"], &script, site.dir.path())).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("seed worker");
    for folder in ["deep", "deep/er", "deep/er/seeds"] {
        assert_eq!(mode(&site.path(folder)) & 0o022, 0, "{folder}");
    }
    let script = "umask 0; {} disk worker && {} pki init --secrets other/secrets && {} seed worker";
    let output = site.at_home(program::kbake_in_line("sh", &["-c"], script, site.dir.path())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for folder in ["images/disks", "images/disks/lab", "images/seeds", "images/seeds/lab", "other", "other/secrets"] {
        assert_eq!(mode(&site.path(folder)) & 0o022, 0, "{folder}");
    }
}

#[test]
fn a_filesystem_without_modes_is_not_called_private() {
    let site = site();
    // FAT has one mode for all files, and refuses another.
    let source = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <errno.h>\n#include <sys/stat.h>\n\
        int fchmod(int fd, mode_t mode) { ((int (*)(int, mode_t))dlsym(RTLD_NEXT, \"fchmod\"))(fd, 0755); errno = EPERM; return -1; }\n\
        int chmod(const char *path, mode_t mode) { ((int (*)(const char *, mode_t))dlsym(RTLD_NEXT, \"chmod\"))(path, 0755); errno = EPERM; return -1; }\n";
    let library = preloaded(&site, source);
    let run = |args: &[&str]| {
        let output = site.kbake(args).env("LD_PRELOAD", &library).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (args, file) in [(&["seed", "worker", "--out", "stick"][..], "stick/worker.iso"), (&["kubeconfig", "--out", "config"], "config")] {
        let (code, said) = run(args);
        assert_eq!(code, Some(0), "{said}");
        says(&said, &[&format!("warning: {file} is not private: its filesystem has no permissions (mode 0755)")]);
        assert!(!said.contains("0600"), "{said}");
    }
    let (code, said) = run(&["pki", "init", "--secrets", "stick/secrets"]);
    assert_eq!(code, Some(1), "{said}");
    says(&said, &["stick/secrets would be on a filesystem without permissions", "--secrets"]);
    assert!(!site.path("stick/secrets").exists(), "no key is made there");
}

#[test]
fn a_seed_takes_the_place_of_its_own_only() {
    let site = site();
    site.succeeds(&["seed", "worker", "--out", "seeds"]);
    site.succeeds(&["seed", "worker", "--out", "seeds"]);
    // Another cluster has a node of the same name.
    site.write("other.toml", &CLUSTER.replace("\"lab\"", "\"other\""));
    site.succeeds(&["pki", "init", "--cluster", "other.toml"]);
    let before = fs::read(site.path("seeds/worker.iso")).unwrap();
    let said = site.fails(1, &["seed", "--all", "--cluster", "other.toml", "--out", "seeds"]);
    says(&said, &["seeds/worker.iso already exists and is not a seed of node `worker` of cluster `other`"]);
    says(
        &said,
        &[
            "found the seed of node `worker` of cluster `lab`",
            "hint: name another folder with --out",
            "mv seeds/worker.iso seeds/worker.iso.old",
        ],
    );
    assert_eq!(fs::read(site.path("seeds/worker.iso")).unwrap(), before);
    assert!(!site.path("seeds/control.iso").exists(), "all are looked at before one is written");
    for (name, format) in [("worker.iso", "iso"), ("worker.img", "vfat"), ("worker", "dir")] {
        let _ = fs::remove_file(site.path("seeds").join(name));
        if format == "dir" {
            fs::create_dir(site.path("seeds/worker")).unwrap()
        };
        let file = if format == "dir" { site.path("seeds/worker/user-data") } else { site.path("seeds").join(name) };
        fs::write(&file, "a person's own").unwrap();
        says(&site.fails(1, &["seed", "worker", "--format", format, "--out", "seeds"]), &["a file or folder that kbake did not write"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a person's own", "{format}");
    }
}

#[test]
fn a_kubeconfig_with_other_clusters_is_kept_and_added_to() {
    let site = site();
    let others = "apiVersion: v1\nkind: Config\ncurrent-context: work\nclusters:\n- name: work\n  cluster: {server: https://work.example}\n\
        contexts:\n- name: work\n  context: {cluster: work, user: me}\nusers:\n- name: me\n  user: {token: mine}\n";
    fs::create_dir(site.path("home/.kube")).unwrap();
    let config = "home/.kube/config";
    site.write(config, others);
    let said = site.fails(1, &["kubeconfig", "--out", config]);
    says(
        &said,
        &[
            "home/.kube/config has entries other than this cluster's, and is not replaced",
            "hint: kbake kubeconfig --merge home/.kube/config",
        ],
    );
    assert_eq!(site.read(config), others);

    // The hint works as typed; the link to the file stays one.
    fs::rename(site.path(config), site.path("real")).unwrap();
    symlink("../../real", site.path(config)).unwrap();
    assert_eq!(site.succeeds(&["kubeconfig", "--merge", config]), "home/.kube/config\n");
    assert!(fs::symlink_metadata(site.path(config)).unwrap().is_symlink() && mode(&site.path("real")) == 0o600);
    let view = |context: &str, what: &str| {
        let args = ["config", "view", "--minify", "--raw", "--context", context, "-o", what, "--kubeconfig", config];
        let output = judge("kubectl", &args, site.dir.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let server = "jsonpath={.clusters[0].cluster.server}";
    assert_eq!(view("kubernetes-admin@lab", server), "https://192.168.7.10:6443");
    assert_eq!((view("work", server), view("work", "jsonpath={.users[0].user.token}")), ("https://work.example".into(), "mine".into()));
    let current = judge("kubectl", &["config", "current-context", "--kubeconfig", config], site.dir.path());
    assert_eq!(String::from_utf8_lossy(&current.stdout), "work\n");
    // While kubectl changes the file, kbake does not wait, and writes nothing.
    let before = site.read("real");
    site.write("real.lock", "");
    says(&site.fails(1, &["kubeconfig", "--merge", config]), &["is being changed by kubectl", "hint: if no kubectl is running: rm "]);
    assert_eq!(site.read("real"), before);
    fs::remove_file(site.path("real.lock")).unwrap();

    // A kubeconfig of this cluster alone is replaced, also after a change; one of another cluster, or another file, is not.
    site.succeeds(&["kubeconfig", "--out", "own"]);
    site.write("own", &site.read("own").replace("192.168.7.10", "192.168.7.99"));
    site.succeeds(&["kubeconfig", "--out", "own"]);
    assert!(site.read("own").contains("192.168.7.10"));
    site.write("other.toml", &CLUSTER.replace("\"lab\"", "\"other\""));
    site.succeeds(&["pki", "init", "--cluster", "other.toml"]);
    says(
        &site.fails(1, &["kubeconfig", "--out", "own", "--cluster", "other.toml"]),
        &["hint: kbake kubeconfig --merge own --cluster other.toml"],
    );
    site.write("notes", "a list\n");
    says(&site.fails(1, &["kubeconfig", "--out", "notes"]), &["is not replaced", "not a kubeconfig"]);
    assert_eq!(site.read("notes"), "a list\n");
    says(&site.fails(2, &["kubeconfig", "--out", "a", "--merge", "b"]), &["--merge"]);
    // A kubeconfig is made when there is none.
    site.succeeds(&["kubeconfig", "--merge", "fresh/config"]);
    assert_eq!((mode(&site.path("fresh")), mode(&site.path("fresh/config"))), (0o700, 0o600));
}

#[test]
fn git_takes_no_secret_in_silence_and_keeps_its_own_ignore_file() {
    let site = site();
    let git = |args: &[&str]| {
        let output = judge("git", args, site.dir.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "-q"]);
    let told = |args: &[&str]| {
        let output = site.kbake(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    let warning =
        |file: &str, line: &str, ignore: &str| format!("warning: git does not ignore {file}, which contains keys: echo {line} >> {ignore}");
    says(&told(&["kubeconfig", "--out", "kubeconfig"]), &[&warning("kubeconfig", "/kubeconfig", ".gitignore")]);
    says(&told(&["seed", "worker", "--out", "."]), &[&warning("./worker.iso", "/worker.iso", "./.gitignore")]);
    assert!(!site.path(".gitignore").exists(), "a project's own file is its own");
    // The commands work as typed, and ignored files are mentioned no more.
    let script = "echo /kubeconfig >> .gitignore; echo /worker.iso >> ./.gitignore";
    assert!(judge("sh", &["-c", script], site.dir.path()).status.success());
    for args in [
        &["kubeconfig", "--out", "kubeconfig"][..],
        &["seed", "worker", "--out", "."],
        &["seed", "--all"],
        &["kubeconfig", "--out", "secrets/lab/admin.conf"],
    ] {
        assert!(!told(args).contains("git"), "{args:?}");
    }
    image(&site, "worker");
    site.succeeds(&["disk", "worker"]);
    let taken = git(&["status", "--porcelain", "--untracked-files=all"]);
    for private in ["secrets", "seeds", "disks", "kubeconfig", "worker.iso"] {
        assert!(!taken.contains(private), "{private}: {taken}");
    }
}

#[test]
fn a_clock_in_another_age_makes_no_authority() {
    let site = Site::new();
    site.write("cluster.toml", CLUSTER);
    let source = "#define _GNU_SOURCE\n#include <stdlib.h>\n#include <time.h>\n\
        int clock_gettime(clockid_t clock, struct timespec *now) { now->tv_sec = atoll(getenv(\"CLOCK\")); now->tv_nsec = 0; return 0; }\n";
    let library = preloaded(&site, source);
    let at = |seconds: &str, args: &[&str]| {
        let output = site.kbake(args).env("LD_PRELOAD", &library).env("CLOCK", seconds).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (seconds, date) in
        [("0", "1970-01-01"), ("1000000000", "2001-09-09"), ("10413792000", "2300-01-01"), ("253402300799", "9999-12-31")]
    {
        let (code, said) = at(seconds, &["pki", "init"]);
        assert_eq!(code, Some(1), "{said}");
        says(&said, &[&format!("this host's clock says {date}"), "expected 20", "hint: set the clock"]);
        assert!(!site.path("secrets").exists(), "{date}");
    }
    site.succeeds(&["pki", "init"]);
    let before = site.read("secrets/lab/admin.crt");
    for seconds in ["0", "10413792000"] {
        let (code, said) = at(seconds, &["pki", "renew", "admin"]);
        assert_eq!(code, Some(1), "{said}");
        says(&said, &["this host's clock says"]);
    }
    assert_eq!(site.read("secrets/lab/admin.crt"), before);
}

#[test]
fn the_ssh_line_of_the_readme_finds_the_nodes_keys() {
    let site = site();
    let known = site.read("secrets/lab/known_hosts");
    for (host, node) in
        [("control", "control"), ("worker.lab.internal", "worker"), ("192.168.7.11", "worker"), ("[127.0.0.1]:22001", "worker")]
    {
        let found = judge("ssh-keygen", &["-l", "-F", host, "-f", "secrets/lab/known_hosts"], site.dir.path());
        let key = judge("ssh-keygen", &["-l", "-f", &format!("secrets/lab/nodes/{node}/ssh_host_ed25519_key")], site.dir.path());
        let fingerprint = String::from_utf8(key.stdout).unwrap().split(' ').nth(1).unwrap().to_owned();
        assert!(String::from_utf8_lossy(&found.stdout).contains(&fingerprint), "{host}: {known}");
    }
    // New addresses come with new seeds, and the keys stay.
    site.write("cluster.toml", &CLUSTER.replace("192.168.7.", "192.168.9."));
    site.succeeds(&["pki", "renew"]);
    site.succeeds(&["seed", "--all"]);
    assert_eq!(site.read("secrets/lab/known_hosts"), known.replace("192.168.7.", "192.168.9."));
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    says(&readme, &["ssh -p 22000 -o UserKnownHostsFile=$pki/known_hosts debian@127.0.0.1"]);
}
