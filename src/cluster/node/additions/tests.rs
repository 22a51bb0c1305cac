use super::*;
use crate::common::testing::pyyaml;

fn read(text: &str) -> Result<Additions> {
    Additions::read("more.yaml", SecretString::from(text))
}

fn refusal(text: &str) -> String {
    read(text).map(drop).expect_err(text).to_string()
}

/// Messages repeat nothing of the file but the key at fault.
#[test]
fn what_contradicts_the_seed_is_refused_with_the_key_named() {
    for (key, words) in [
        ("hostname", "`hostname` is set by kbake: it follows from the node's `name`"),
        ("fqdn", "the cluster's `domain`"),
        ("ssh_keys", "the host's ssh keys"),
        ("manage_etc_hosts", "all nodes are in /etc/hosts"),
        ("network", "the node's address in [network]"),
        ("cloud_final_modules", "the image's part of cloud-init"),
        ("merge_how", "nothing in kbake's images reads `merge_how`"),
        ("ntp", "use `ntp` in the cluster file"),
        ("mounts", "use `data-disk` in [[node]]"),
        ("write_file", "did you mean `write_files`?"),
        ("chpasswd", "known: allow_public_ssh_keys, apt"),
    ] {
        let said = refusal(&format!("#cloud-config\nruncmd: [hunter2]\n{key}: hunter2\n"));
        assert!(said.contains(words) && said.contains("more.yaml:3: ") && !said.contains("hunter2"), "{key}: {said}");
    }
    for text in ["", "hunter2: a\n", "#cloud-config-jsonp\n[]\n", "## template: jinja\n#cloud-config\n", "#include\nhttp://hunter2\n"] {
        let said = refusal(text);
        assert!(said.contains("its first line is `#cloud-config`") && !said.contains("hunter2"), "{said}");
    }
    for key in KNOWN {
        assert!(read(&format!("#cloud-config\n{key}: []\n")).is_ok(), "{key}");
    }
    assert!(KNOWN.is_sorted() && OWN.is_sorted() && ELSEWHERE.is_sorted());
}

/// The allowed keys are those of the image's modules: a key whose module does not run would have no effect.
#[test]
fn each_key_has_a_module_in_the_image() {
    let config = &pyyaml(&[include_str!("../../../build/role/90-kbake.cfg").to_owned()])[0];
    let stages = ["cloud_init_modules", "cloud_final_modules"].map(|stage| config[stage].as_array().unwrap().clone());
    let runs = |module: &str| stages.concat().iter().any(|known| known == module);
    for (module, keys) in [
        ("apt-configure", &["apt"][..]),
        ("bootcmd", &["bootcmd"]),
        ("ca-certs", &["ca_certs"]),
        ("final-message", &["final_message"]),
        ("package-update-upgrade-install", &["package_reboot_if_required", "package_update", "package_upgrade", "packages"]),
        ("runcmd", &["runcmd"]),
        ("scripts-user", &[]),
        ("ssh", &["allow_public_ssh_keys", "disable_root", "disable_root_opts", "ssh_authorized_keys", "ssh_publish_hostkeys"]),
        ("users-groups", &["groups", "users"]),
        ("write-files", &["write_files"]),
    ] {
        assert!(runs(module), "{module}");
        assert!(keys.iter().all(|key| KNOWN.contains(key)), "{module}");
    }
    for (module, key) in [("ntp", "ntp"), ("mounts", "mounts"), ("disk_setup", "disk_setup"), ("set-passwords", "chpasswd")] {
        assert!(!runs(module) && !KNOWN.contains(&key), "{module}");
    }
}

#[test]
fn a_file_of_kbake_s_is_not_written_twice() {
    let own = [NodeFile::public("/etc/hosts", "")];
    for path in ["/etc/hosts", "/etc//hosts", "/etc/./hosts", "/etc/x/../hosts", "etc/hosts"] {
        let more = read(&format!("#cloud-config\nwrite_files:\n- path: {path}\n")).unwrap();
        let said = more.refuse_duplicates(&own).unwrap_err().to_string();
        assert!(said.contains("more.yaml:3: `write_files` has ") && said.contains(path), "{said}");
    }
    let more = read("#cloud-config\nwrite_files:\n- path: /etc/hosts.d/x\n").unwrap();
    more.refuse_duplicates(&own).unwrap();
}
