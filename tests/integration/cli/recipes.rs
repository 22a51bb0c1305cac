//! Recipes and the files beside them: mistakes, links, programs, kernel arguments, secrets, and hostile packages.

use super::*;

#[test]
fn what_a_large_file_was_is_remembered_where_there_is_a_store() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    let entry = "\n[[file]]\npath = \"/opt/large\"\nsource = \"large\"\n";
    site.write("recipes/roles/etcd.toml", &(site.read("recipes/roles/etcd.toml") + entry));
    let large = site.path("recipes/large");
    fs::write(&large, vec![b'a'; (1 << 20) + 1]).unwrap();
    let before = site.succeeds(&["plan", "etcd"]);
    assert!(!site.path("home/.cache").exists(), "who only reads makes no store");
    // The times of files are coarse: an earlier change might leave the same.
    std::thread::sleep(Duration::from_secs(6));
    let remembered = || fs::read_dir(site.path("home/.cache/kbake/stamps")).unwrap().count();
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    assert_eq!(remembered(), 1);
    // Other bytes of the same length and date are noticed, and both commands have the same plan.
    let modified = fs::metadata(&large).unwrap().modified().unwrap();
    fs::write(&large, vec![b'b'; (1 << 20) + 1]).unwrap();
    fs::File::options().write(true).open(&large).unwrap().set_modified(modified).unwrap();
    let after = site.succeeds(&["plan", "etcd"]);
    assert_ne!(before, after);
    site.succeeds(&["fetch", "etcd", "--offline"]);
    let key = Sha256::of(&after).to_string();
    assert!(site.blobs().contains(&key), "the store has the plan of what is there now");
}

#[test]
fn hashing_a_large_file_ends_when_asked() {
    let site = Site::new();
    let entry = "\n[[file]]\npath = \"/opt/large\"\nsource = \"large\"\n";
    site.write("recipes/roles/etcd.toml", &(site.read("recipes/roles/etcd.toml") + entry));
    // A sparse file: hashing it would take an hour.
    fs::File::create(site.path("recipes/large")).unwrap().set_len(1 << 40).unwrap();
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let child = site.kbake(&["plan", "etcd"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while !has_open(child.id(), &site.path("recipes/large")) {
            assert!(start.elapsed() < HANGS, "it does not begin to hash");
            std::thread::sleep(Duration::from_millis(20));
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        // To the end of the file it would take an hour.
        says(&said(130, &child.wait_with_output().unwrap()), &["error: interrupted"]);
    }
}

/// True while a process has the file open.
fn has_open(process: u32, path: &Path) -> bool {
    let path = fs::canonicalize(path).unwrap();
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| to == path)
}

/// Builds with these two packages, which the lock names by their true digests; the build must fail.
fn builds_from(apt: &[u8], tool: &[u8]) -> String {
    const APT: &str = "pool/main/a/apt/apt_1_all.deb";
    let (site, web) = (Site::new(), Web::start());
    site.write("recipes/base.toml", "description = \"base\"\npackages = [\"apt\"]\n");
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\n");
    site.lock(&[(APT, apt), (TOOL, tool)]);
    web.answer(APT, Answer::File(apt.to_vec()));
    web.answer(TOOL, Answer::File(tool.to_vec()));
    let text = site.fails(4, &["build", "etcd", "--mirror", &web.base]);
    assert!(!site.path("images/etcd.qcow2").exists());
    text
}

#[test]
fn hostile_packages_are_refused_by_name() {
    use ::tar::EntryType::{Block, Directory, Fifo, Link, Regular, Symlink};
    let control = |name: &str| format!("Package: {name}\nVersion: 1\nArchitecture: all\nEssential: yes\n");
    let honest = deb(&control("apt"), &tar(&[]));
    // The locked bytes, which are no package, or another one.
    says(&builds_from(b"no package", b"x"), &["error: the package `apt`: is not an ar archive"]);
    let other = deb(&control("tpa"), &tar(&[]));
    says(&builds_from(&other, b"x"), &["error: `apt` is locked to another package", "expected apt 1 all, found tpa 1 all"]);
    says(&builds_from(&honest, &honest[..honest.len() - 600]), &["error: ", "mmdebstrap"]);
    let (bin, script) = (("./usr/bin/", Directory, ""), ("./usr/bin/mmdebstrap", Regular, ""));
    for (members, expected) in [
        (&[("./../../etc/cron.d/evil", Regular, ""), script][..], "escapes the root by `..`"),
        (&[("/etc/cron.d/evil", Regular, ""), script], "`/etc/cron.d/evil` is absolute"),
        (&[("./usr/bin", Symlink, "/tmp"), script], "goes through the symbolic link /usr/bin"),
        (
            &[bin, ("./usr/bin/x", Link, "../../../etc/shadow"), script],
            "is a hard link, whose target `../../../etc/shadow` escapes the root",
        ),
        (&[bin, ("./dev/sda", Block, ""), script], "is a device or pipe, which are not allowed here"),
        (&[bin, ("./run/pipe", Fifo, ""), script], "is a device or pipe, which are not allowed here"),
        (&[bin, script, script], "occurs twice"),
    ] {
        let folders = ["./", "./dev/", "./run/", "./usr/"].map(|name| (name, Directory, ""));
        let tool = deb(&control("mmdebstrap"), &tar(&[&folders, members].concat()));
        let text = builds_from(&honest, &tool);
        says(&text, &["error: mmdebstrap 1: member `", expected]);
    }
}

#[test]
fn a_second_kernel_is_refused_with_the_lines_that_ask_for_it() {
    let site = Site::new();
    site.write("recipes/base.toml", "description = \"base\"\npackages = [\"one\", \"linux-image-cloud-amd64\"]\n");
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\", \"linux-image-amd64\"]\n");
    let cloud = ["linux-image-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64"];
    let both = [cloud[0], cloud[1], "linux-image-amd64", "linux-image-6.1.0-9-amd64"];
    let lock = |names: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| format!("pool/main/l/{name}/{name}_1_all.deb")).collect();
        let own = [ONE, TWO, TOOL].map(|path| (path, b"x".as_slice()));
        site.lock(&[&own[..], &paths.iter().map(|path| (path.as_str(), b"x".as_slice())).collect::<Vec<_>>()].concat());
    };
    lock(&both);
    for command in ["plan", "build"] {
        says(
            &site.fails(1, &[command, "etcd"]),
            &[
                "error: the role `etcd` has 2 kernels",
                "linux-image-6.1.0-9-amd64 1",
                "linux-image-6.1.0-9-cloud-amd64 1",
                "`linux-image-cloud-amd64` at recipes/base.toml:2",
                "`linux-image-amd64` at recipes/roles/etcd.toml:2",
                "kbake lock --channel debian",
            ],
        );
    }
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\"]\n");
    lock(&cloud);
    site.succeeds(&["plan", "etcd"]);
}

#[test]
fn what_a_recipe_puts_into_an_image_is_audited_before_anything_is_fetched() {
    let site = Site::new();
    let role = site.read("recipes/roles/etcd.toml");
    for (entry, what) in [
        ("path = \"/etc/nvme/hostid\"\ncontent = \"0e1f\"", "/etc/nvme/hostid, recipes/roles/etcd.toml:4: machine's identity"),
        ("path = \"/etc/x\"\nsource = \"key\"", "/etc/x, recipes/roles/etcd.toml:4: private key"),
    ] {
        // Files of both sizes: small ones are held in memory.
        for filling in [0, 2 << 20] {
            site.write(
                "recipes/key",
                &format!("{}-----BEGIN RSA PRIVATE KEY-----\n{}", "\n".repeat(filling), "MIIEowIBAAKCAQEA1234\n".repeat(8)),
            );
            site.write("recipes/roles/etcd.toml", &format!("{role}[[file]]\n{entry}\n"));
            says(&site.fails(1, &["build", "etcd", "--offline"]), &["error: the recipes of `etcd` put secrets", what, "public = "]);
            site.write("recipes/roles/etcd.toml", &format!("{role}[[file]]\n{entry}\npublic = \"an example\"\n"));
            says(&site.fails(3, &["build", "etcd", "--offline"]), &["error: 3 artifacts are missing"]);
        }
    }
}

#[test]
fn mistakes_in_recipes_have_a_place() {
    let site = Site::new();
    let role = "recipes/roles/etcd.toml";
    for (text, expected) in [
        ("description = \"a\"\npackages = [\"two\"\n", &["recipes/roles/etcd.toml:"][..]),
        ("description = \"a\"\npackges = [\"two\"]\n", &["recipes/roles/etcd.toml:2:1", "packges", "`packages`"]),
        ("description = \"a\"\npackages = [2]\n", &["recipes/roles/etcd.toml:2:13"]),
        (
            "description = \"a\"\nparts = [\"ectd\"]\n",
            &["recipes/roles/etcd.toml:2:10", "there is no part `ectd`", "recipes/parts/ectd.toml"],
        ),
        ("description = \"a\"\n[[file]]\npath = \"/etc/../x\"\ncontent = \"\"\n", &["recipes/roles/etcd.toml:3:8", ".."]),
        ("<<<<<<< ours\ndescription = \"a\"\n=======\n", &["recipes/roles/etcd.toml:1", "merge", "hint: "]),
    ] {
        site.write(role, text);
        says(&site.fails(1, &["plan", "etcd"]), expected);
    }
}

#[test]
fn a_link_out_of_the_project_brings_nothing_into_an_image() {
    let (site, outside) = (Site::new(), tempfile::tempdir().unwrap());
    let token = outside.path().join("token");
    fs::write(&token, "hush").unwrap();
    let role = site.read("recipes/roles/etcd.toml");
    let refused =
        |name: &str| says(&site.fails(1, &["plan", "etcd"]), &[&format!("{name} is outside the project's folder"), "hint: copy the file"]);
    site.write("recipes/roles/etcd.toml", &format!("{role}\n[[file]]\npath = \"/etc/a\"\nsource = \"dir/token\"\n"));
    std::os::unix::fs::symlink(outside.path(), site.path("recipes/dir")).unwrap();
    refused("recipes/dir/token");
    fs::remove_file(site.path("recipes/dir")).unwrap();
    fs::create_dir(site.path("recipes/dir")).unwrap();
    std::os::unix::fs::symlink(&token, site.path("recipes/dir/token")).unwrap();
    refused("recipes/dir/token");
    // A link inside the project is followed.
    fs::remove_file(site.path("recipes/dir/token")).unwrap();
    fs::write(site.path("recipes/mine"), "hello").unwrap();
    std::os::unix::fs::symlink("../mine", site.path("recipes/dir/token")).unwrap();
    assert!(site.succeeds(&["plan", "etcd"]).contains(&Sha256::of("hello").to_string()));
    // Recipes and lockfiles are files of the project too.
    let lock = site.path("lockfiles/debian.lock");
    fs::rename(&lock, outside.path().join("lock")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("lock"), &lock).unwrap();
    refused("lockfiles/debian.lock");
}

#[test]
fn a_program_beside_the_recipes_keeps_its_bit_or_is_asked_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let role = site.read("recipes/roles/etcd.toml");
    let with = |mode: &str| {
        site.write("recipes/roles/etcd.toml", &format!("{role}\n[[file]]\npath = \"/usr/local/bin/a\"\nsource = \"a\"\n{mode}"))
    };
    fs::write(site.path("recipes/a"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(site.path("recipes/a"), fs::Permissions::from_mode(0o755)).unwrap();
    with("");
    says(&site.fails(1, &["plan", "etcd"]), &["recipes/a is executable", "mode = \"0755\"", "mode = \"0644\"", "recipes/roles/etcd.toml:"]);
    for mode in ["0755", "0644"] {
        with(&format!("mode = \"{mode}\"\n"));
        assert!(site.succeeds(&["plan", "etcd"]).lines().any(|line| line.contains("/usr/local/bin/a") && line.contains(mode)));
    }
    with("");
    fs::set_permissions(site.path("recipes/a"), fs::Permissions::from_mode(0o644)).unwrap();
    site.succeeds(&["plan", "etcd"]);
}

#[test]
fn kernel_arguments_and_modules_are_in_the_plan() {
    let site = Site::new();
    let before = site.succeeds(&["plan", "etcd"]);
    let recipe = |name: &str, more: &str| site.write(name, &(site.read(name) + more));
    recipe("recipes/base.toml", "kernel-args = [\"quiet\", \"mitigations=auto\"]\n");
    recipe("recipes/roles/etcd.toml", "kernel-args = [\"quiet\", \"swapaccount=1\"]\nkernel-modules = [\"br_netfilter\"]\n");
    let after = site.succeeds(&["plan", "etcd"]);
    assert_ne!(before, after);
    let list = Sha256::of("# `kernel-modules` of the recipes.\nbr_netfilter\n").to_string();
    assert!(after.lines().any(|line| line.contains("/etc/modules-load.d/kernel-modules.conf") && line.contains(&list)), "{after}");
    recipe("recipes/roles/etcd.toml", "\n[[file]]\npath = \"/etc/default/grub.d/a.cfg\"\ncontent = \"x\"\n");
    says(&site.fails(1, &["plan", "etcd"]), &["/etc/default/grub.d/a.cfg changes nothing", "hint: `kernel-args"]);
}
