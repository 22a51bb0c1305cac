//! A derived channel: it inherits locked entries of its base, and locks only the ones that it changes.

use super::*;

const ROLES: [(&str, &str); 2] = [("etcd", "tool"), ("big", "large")];

fn table(name: &str, web: &Web) -> String {
    format!(
        "\n[artifact.{name}]\nversion = \"{name}\"\nurl = \"{}{{version}}/{{arch}}/{name}\"\nchecksum = \"{{url}}.sha256\"\n\
         install = \"/usr/local/bin/{name}\"\n",
        web.base
    )
}

/// A project whose base channel is locked, and the publisher, which has files for one machine.
fn locked() -> (Site, Web) {
    let (site, web) = (Site::new(), Web::start());
    let sources = site.read("recipes/sources/debian.toml");
    let versions = "\n[versions]\ntool = \"1.0\"\nlarge = \"1.0\"\n";
    site.write("recipes/sources/debian.toml", &(sources + versions + &table("tool", &web) + &table("large", &web)));
    for (role, artifact) in ROLES {
        site.write(
            &format!("recipes/roles/{role}.toml"),
            &format!("description = \"r\"\npackages = [\"two\"]\nartifacts = [\"{artifact}\"]\n"),
        );
    }
    for at in ["1.0/amd64/tool", "1.0/amd64/large", "2.0/amd64/tool"] {
        web.answer(at, Answer::File(at.into()));
        web.answer(&format!("{at}.sha256"), Answer::File(Sha256::of(at).to_string().into()));
    }
    site.succeeds(&["lock"]);
    (site, web)
}

/// The paths requested since `before`.
fn asked(web: &Web, before: usize) -> Vec<String> {
    web.requests().into_iter().skip(before).map(|request| request.path).collect()
}

#[test]
fn a_derived_channel_takes_over_what_it_does_not_change() {
    let (site, web) = locked();
    assert!(asked(&web, 0).iter().all(|path| !path.contains("arm64")), "no image of another machine is baked");
    let before = web.requests().len();
    site.write("recipes/sources/lab.toml", "channel = \"lab\"\nbase = \"debian\"\nroles = [\"etcd\"]\n");
    let output = site.kbake(&["lock", "--channel", "lab"]).output().unwrap();
    let said = said_by(&output);
    assert!(output.status.success() && output.stdout.is_empty(), "nothing differs from the base: {said}");
    says(
        &said,
        &[
            "the packages are inherited from lockfiles/debian.lock",
            "1 entry is inherited from lockfiles/debian.lock",
            "lab.lock is written",
        ],
    );
    assert_eq!(asked(&web, before), Vec::<String>::new());
    let lock = site.read("lockfiles/lab.lock");
    assert!(lock.contains("name = \"tool\"") && !lock.contains("large") && !lock.contains("big"), "{lock}");
    site.succeeds(&["lock", "--check", "--channel", "lab"]);
    assert_eq!(site.succeeds(&["plan", "etcd", "--channel", "lab"]), site.succeeds(&["plan", "etcd"]));
    assert_eq!(site.succeeds(&["lock", "--channel", "lab"]), "");
    // The result depends on no store or home.
    fs::remove_file(site.path("lockfiles/lab.lock")).unwrap();
    fs::remove_dir_all(site.path("home/.cache")).ok();
    site.succeeds(&["lock", "--channel", "lab"]);
    assert_eq!((site.read("lockfiles/lab.lock"), asked(&web, before).len()), (lock, 0));

    // One version moves.
    site.write("recipes/sources/lab.toml", "channel = \"lab\"\nbase = \"debian\"\nroles = [\"etcd\"]\n[versions]\ntool = \"2.0\"\n");
    says(&site.fails(1, &["lock", "--check", "--channel", "lab"]), &["expected version 2.0, found 1.0", "kbake lock --channel lab"]);
    assert_eq!(site.succeeds(&["lock", "--channel", "lab"]), "move    tool 1.0 -> 2.0 (amd64)\n");
    let paths: std::collections::BTreeSet<_> = asked(&web, before).into_iter().collect();
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["/2.0/amd64/tool", "/2.0/amd64/tool.sha256"]);
    site.succeeds(&["lock", "--check", "--channel", "lab"]);
    // And back, without a request.
    let before = web.requests().len();
    site.write("recipes/sources/lab.toml", "channel = \"lab\"\nbase = \"debian\"\n");
    assert_eq!(site.succeeds(&["lock", "--channel", "lab"]).lines().filter(|line| !line.starts_with("regroup")).count(), 2);
    assert_eq!(asked(&web, before), Vec::<String>::new());
}

#[test]
fn a_channel_has_the_roles_that_it_names() {
    let (site, _web) = locked();
    site.write("recipes/sources/lab.toml", "channel = \"lab\"\nbase = \"debian\"\nroles = [\"etcd\"]\n");
    site.succeeds(&["lock", "--channel", "lab"]);
    assert_eq!(site.succeeds(&["roles", "--channel", "lab"]), "etcd\tr\n");
    assert_eq!(site.succeeds(&["roles"]).lines().count(), 2);
    for verb in ["plan", "fetch", "build"] {
        says(
            &site.fails(1, &[verb, "big", "--channel", "lab"]),
            &[
                "the channel `lab` does not have the role `big`",
                "add it to `roles` in recipes/sources/lab.toml",
                "kbake lock --channel lab",
            ],
        );
    }
    for (roles, words) in [
        ("[\"etdc\"]", &["the project has no role `etdc`", "did you mean `etcd`?", "lab.toml:3:"][..]),
        ("[]", &["`roles` names no role", "lab.toml:3:"]),
        ("[\"etcd\", \"etcd\"]", &["the role `etcd` is listed twice"]),
    ] {
        site.write("recipes/sources/lab.toml", &format!("channel = \"lab\"\nbase = \"debian\"\nroles = {roles}\n"));
        says(&site.fails(1, &["lock", "--channel", "lab"]), words);
    }
}

#[test]
fn a_base_s_lockfile_that_does_not_fit_is_said_and_not_used() {
    let (site, web) = locked();
    let lab = "channel = \"lab\"\nbase = \"debian\"\n";
    site.write("recipes/sources/lab.toml", lab);
    let sources = site.read("recipes/sources/debian.toml");
    site.write("recipes/sources/debian.toml", &sources.replace("tool = \"1.0\"", "tool = \"2.0\""));
    let before = web.requests().len();
    let output = site.kbake(&["lock", "--channel", "lab"]).output().unwrap();
    says(
        &said_by(&output),
        &["note: lockfiles/debian.lock does not match its own sources in artifact `tool`", "`kbake lock --channel debian` updates it"],
    );
    assert!(output.status.success() && asked(&web, before).iter().all(|path| path.starts_with("/2.0/amd64/tool")));
    // An unreadable lockfile of the base channel stops no command that needs nothing of it.
    let lock = site.read("lockfiles/lab.lock");
    site.write("lockfiles/debian.lock", "<<<<<<< HEAD\n");
    let output = site.kbake(&["lock", "--channel", "lab"]).output().unwrap();
    says(&said_by(&output), &["note: nothing is inherited from lockfiles/debian.lock: ", "unresolved merge conflict"]);
    assert!(output.status.success());
    assert_eq!(site.read("lockfiles/lab.lock"), lock);
}
