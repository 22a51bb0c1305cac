//! Arguments, pipes, the help, completions and manual pages.

use super::*;
use crate::support::shared::golden::golden;

#[test]
fn usage_and_pipes() {
    let site = Site::new();
    says(&site.fails(2, &["biuld", "etcd"]), &["build"]);
    says(&site.fails(2, &["build"]), &["ROLE"]);
    says(&site.fails(2, &["build", "etcd", "--jobs", "0"]), &["--jobs", "a whole number of at least 1"]);
    says(&site.fails(2, &["lock", "--upgrade", "Not_one"]), &["error: --upgrade: `Not_one` is not a Debian package name"]);
    let nothing = site.kbake(&[]).env_remove("KBAKE_CHANNEL").output().unwrap();
    says(&said(2, &nothing), &["Usage: kbake", "Commands:"]);
    assert!(site.succeeds(&["--version"]).starts_with("kbake 0."));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = site.kbake(&["plan", "etcd"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "a full disk behind stdout is no success");
    let mut pipe = site.kbake_by("sh", &["-c", "\"$1\" plan etcd --channel debian | head -n 1", "sh"]);
    let output = pipe.output().unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"kbake-plan 1\n"[..], &b""[..]));
}

#[test]
fn the_help_is_as_recorded() {
    let site = Site::new();
    let mut all = site.succeeds(&["--help"]);
    let commands = "build;fetch;plan;tree;sbom;cve;why;diff;audit;bundle;bundle create;bundle verify;bundle import;bundle show;\
                    verify;gc;store;lock;cluster;net-xml;domain-xml;qemu;dnsmasq;hosts;inventory;exports;disk;seed;\
                    pki;pki init;pki show;pki renew;pki import;kubeconfig;roles;init;completions;man";
    for command in commands.split(';') {
        all += &format!("\n$ kbake {command} --help\n{}", site.succeeds(&command.split(' ').chain(["--help"]).collect::<Vec<_>>()));
    }
    golden("cli/help.txt", &all);
}

#[test]
fn completions_are_what_their_shell_reads() {
    let site = Site::new();
    let script = site.path("kbake.bash");
    fs::write(&script, site.succeeds(&["completions", "bash"])).unwrap();
    let line = format!(
        ". {}; COMP_WORDS=(kbake build --acc); COMP_CWORD=2; _kbake kbake --acc build; echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--accept-new-digest\n", "{}", String::from_utf8_lossy(&output.stderr));
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(site.succeeds(&["completions", shell]).contains("accept-new-digest"), "{shell}");
    }
}

#[test]
fn manual_pages_are_read_and_overwrite_nobody_s() {
    let site = Site::new();
    let page = site.succeeds(&["man", "pki", "init"]);
    assert!(page.contains(".TH kbake-pki-init 1"), "{page}");
    says(&site.fails(2, &["man", "biuld"]), &["there is no command `biuld`", "did you mean `kbake man build`?"]);
    let written = site.succeeds(&["man", "--out", "man1"]);
    assert!(written.lines().any(|line| line == "man1/kbake-net-xml.1"), "{written}");
    assert_eq!(site.succeeds(&["man", "--out", "man1"]), written, "its own pages it replaces");
    site.write("man1/kbake-build.1", "somebody's own\n");
    says(&site.fails(1, &["man", "--out", "man1"]), &["man1/kbake-build.1 is not a manual page of kbake", "--out DIR"]);
    assert_eq!(site.read("man1/kbake-build.1"), "somebody's own\n");
}
