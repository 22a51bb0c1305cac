//! `kbake audit` of an image with secrets.

use std::fs;
use std::process::Command;

use crate::support::site::{Site, says};

#[test]
fn an_image_with_a_secret_fails_its_audit() {
    let site = Site::new();
    let root = site.path("root");
    fs::create_dir_all(root.join("root/.ssh")).unwrap();
    fs::write(root.join("root/.bash_history"), "ls\n").unwrap();
    let make = |image: &str| {
        let _ = fs::remove_file(site.path(image));
        let image = site.path(image);
        let args = ["-q", "-F", "-t", "ext4", "-d", root.to_str().unwrap(), image.to_str().unwrap(), "8M"];
        let made = Command::new("mke2fs").args(args).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").output();
        assert!(made.expect("mke2fs is missing: run tests/setup.sh").status.success());
    };
    make("lived.raw");
    let audit = |code: i32, args: &[&str]| {
        let output = site.kbake(&[&["audit"], args].concat()).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
        format!("{stdout}{stderr}")
    };
    let history = "lived.raw: disk: /root/.bash_history: history";
    says(&audit(1, &["lived.raw"]), &[history, "error: the image is not clean", "--allow PATH"]);
    let allowed = audit(0, &["lived.raw", "--allow", "/root/.bash_history"]);
    says(&allowed, &["lived.raw: allowed: disk: /root/.bash_history: history", "lived.raw: clean: "]);
    fs::remove_file(root.join("root/.bash_history")).unwrap();
    make("new.raw");
    says(&audit(0, &["new.raw"]), &["new.raw: clean: "]);
    says(&audit(1, &["new.raw", "lived.raw"]), &["new.raw: clean: ", history, "error: 1 of 2 images are not clean"]);
    says(&audit(1, &["none.raw"]), &["none.raw"]);
    says(&audit(1, &["new.raw", "--allow", "/"]), &["--allow /", "the whole image"]);
    fs::write(site.path("bad.qcow2"), b"QFI\xfb not more than that").unwrap();
    says(&audit(4, &["bad.qcow2"]), &["cannot read the image"]);
}
