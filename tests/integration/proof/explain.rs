//! `kbake why` and `kbake diff`: the lines that changed a plan.

use super::*;

#[test]
fn why_before_anything_was_built_and_when_nothing_changed() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    assert!(site.succeeds(&["why", "etcd"]).starts_with("etcd was never built from this project with this store (channel debian)"));
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    let said = site.succeeds(&["why", "etcd"]);
    says(&said, &["etcd must be built: its plan is unchanged", "not in the store", "no previous plan is known"]);
    let store = open(&site);
    let blob = store.insert(b"an image").unwrap();
    let image = Action { outputs: [("image".to_owned(), blob), ("tree".to_owned(), blob)].into() };
    store.put_action("image", &resolved(&site).plan.key(), &image).unwrap();
    assert_eq!(
        site.succeeds(&["why", "etcd"]),
        "etcd is up to date: its plan is unchanged since the last build\nno previous plan is known\n"
    );
    fs::remove_file(store.path(&blob.digest)).unwrap();
    says(&site.succeeds(&["why", "etcd"]), &["its image is not usable: its `image` (sha256:", "is gone"]);
    says(&site.fails(1, &["why", "nonesuch"]), &["unknown role `nonesuch`"]);
}

/// The lines of `kbake why etcd` after the first.
fn reasons(site: &Site) -> Vec<String> {
    site.succeeds(&["why", "etcd"]).lines().skip(1).map(|line| line.trim_start().to_owned()).collect()
}

#[test]
fn why_names_the_line_of_each_change() {
    let (site, web) = fetched();
    let recipe = "description = \"a role\"\npackages = [\"two\"]\n";
    let line = |needle: &str, file: &str| site.read(file).lines().position(|line| line == needle).unwrap() + 1;

    // A new version in the lockfile.
    let lock = site.read("lockfiles/debian.lock");
    let old = Sha256::of(contents(TWO)).to_string();
    let new = Sha256::of("new").to_string();
    let at = line("name = \"two\"", "lockfiles/debian.lock");
    let moved = lock.replace(&old, &new);
    let entry = moved.find("name = \"two\"").unwrap();
    site.write(
        "lockfiles/debian.lock",
        &format!("{}{}", &moved[..entry], moved[entry..].replacen("version = \"1\"", "version = \"2\"", 1)),
    );
    assert_eq!(reasons(&site), [format!("changed  deb two  ({}… → {}…): lockfiles/debian.lock:{at} two 1 → 2", &old[..12], &new[..12])]);
    says(&site.succeeds(&["why", "etcd"]), &["has changed in 1 line since the last build; its packages must be installed again"]);
    // The same version with other bytes is a warning.
    site.write("lockfiles/debian.lock", &moved);
    says(&reasons(&site)[0], &["two 1: OTHER BYTES under the same version", &old, &new]);
    site.write("lockfiles/debian.lock", &lock);

    // Lines of the recipe: a file, a unit, an account.
    site.write(
        "recipes/roles/etcd.toml",
        &format!("{recipe}\n[[file]]\npath = \"/etc/motd\"\ncontent = \"hello\"\n\n[units]\nenable = [\"a.service\"]\n"),
    );
    assert_eq!(reasons(&site), ["added    /etc/motd: recipes/roles/etcd.toml:5", "added    unit a.service: recipes/roles/etcd.toml:9"]);
    says(
        &site.succeeds(&["why", "etcd"]),
        &["in 2 lines since the last build; its installed packages are reused, only the image must be written again"],
    );
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    // After a build it is the reason of the last rebuild; then it changes, and is removed.
    site.write("recipes/roles/etcd.toml", &format!("{recipe}\n[[file]]\npath = \"/etc/motd\"\ncontent = \"hello you\"\nmode = \"0600\"\n"));
    assert_eq!(
        reasons(&site),
        [
            "changed  /etc/motd  (mode 0644 → 0600; contents, 5 → 9 bytes): recipes/roles/etcd.toml:5",
            "removed  unit a.service: no longer there; it was recipes/roles/etcd.toml:9"
        ]
    );

    // A package that the recipe adds, and one that it drops.
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\n");
    site.lock(&[(ONE, &contents(ONE)), (TOOL, &contents(TOOL))]);
    let said = reasons(&site);
    assert_eq!(said[0], format!("removed  deb two: two 1 is no longer wanted; it was lockfiles/debian.lock:{at}"));
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    site.write("recipes/roles/etcd.toml", recipe);
    site.write("lockfiles/debian.lock", &lock);
    let said = reasons(&site);
    assert_eq!(said[0], format!("added    deb two: lockfiles/debian.lock:{at} two 1, asked for in recipes/roles/etcd.toml:2"));
}

#[test]
fn why_names_a_projects_large_file() {
    let (site, web) = (Site::new(), Web::start());
    mirror(&web, &[ONE, TWO, TOOL]);
    fs::create_dir_all(site.path("recipes/files")).unwrap();
    let large = |byte: u8, more: usize| vec![byte; (1 << 20) + more];
    fs::write(site.path("recipes/files/big"), large(1, 1)).unwrap();
    let recipe = "description = \"a role\"\npackages = [\"two\"]\n[[file]]\npath = \"/opt/big\"\nsource = \"files/big\"\n";
    site.write("recipes/roles/etcd.toml", recipe);
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    for (bytes, said) in [
        (large(2, 1), "contents, as before 1048577 bytes"),
        (large(1, 2), "contents, 1048577 → 1048578 bytes"),
        (vec![7; 3], "contents, 1048577 → 3 bytes"),
    ] {
        fs::write(site.path("recipes/files/big"), bytes).unwrap();
        assert_eq!(reasons(&site), [format!("changed  /opt/big  ({said}): recipes/files/big, which recipes/roles/etcd.toml:4 names")]);
    }
    fs::write(site.path("recipes/files/big"), large(1, 1)).unwrap();
    site.write("recipes/roles/etcd.toml", &format!("{recipe}mode = \"0700\"\n"));
    assert_eq!(reasons(&site), ["changed  /opt/big  (mode 0644 → 0700): recipes/roles/etcd.toml:4"], "the file itself did not change");
}

#[test]
fn why_after_only_kbake_itself_changed() {
    let (site, _web) = fetched();
    let store = open(&site);
    // The root that an older kbake would have left.
    let mut root = store.roots().unwrap().remove(0);
    let text = |digest: &Sha256| String::from_utf8(fs::read(store.path(digest)).unwrap()).unwrap();
    let plan = text(&root.current.history.plan.digest);
    let format = plan.lines().find(|line| line.starts_with("base-format ")).unwrap();
    let old = plan.replace(format, "base-format 0 aa").replace("file /etc/fstab 0644 root root ", "file /etc/fstab 0644 root root 9");
    assert_ne!(old, plan.replace(format, "base-format 0 aa"), "every image has an fstab");
    let causes = text(&root.current.history.causes.unwrap().digest);
    let version = format!("\"kbake\": \"{}\"", env!("CARGO_PKG_VERSION"));
    let causes = causes.replace(&version, "\"kbake\": \"0.0.9\"");
    root.current.history.plan = store.insert(old.as_bytes()).unwrap();
    root.current.history.causes = Some(store.insert(causes.as_bytes()).unwrap());
    store.put_root(&root).unwrap();
    let said = reasons(&site);
    let now = env!("CARGO_PKG_VERSION");
    let words = format.strip_prefix("base-format ").unwrap();
    assert_eq!(said[0], format!("changed  base-format  (0 aa → {words}): kbake itself, 0.0.9 → {now}"));
    assert!(said[1].starts_with("changed  /etc/fstab") && said[1].ends_with(&format!(": kbake itself, 0.0.9 → {now}")), "{said:?}");
    assert_eq!(said.len(), 2);
    // Without the recorded provenance, the changed lines are shown all the same.
    root.current.history.causes = None;
    store.put_root(&root).unwrap();
    assert_eq!(reasons(&site)[0], format!("changed  base-format  (0 aa → {words}): kbake itself"));
    // And without the plan there is nothing to compare with.
    fs::remove_file(store.path(&root.current.history.plan.digest)).unwrap();
    says(&site.succeeds(&["why", "etcd"]), &["the store no longer has the old plan to compare with"]);
}

#[test]
fn the_last_rebuild_is_explained_once_nothing_changes_any_more() {
    let (site, web) = fetched();
    let store = open(&site);
    let blob = store.insert(b"an image").unwrap();
    let image = Action { outputs: [("image".to_owned(), blob), ("tree".to_owned(), blob)].into() };
    let built = |site: &Site| store.put_action("image", &resolved(site).plan.key(), &image).unwrap();
    built(&site);
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\"]\n[units]\nmask = [\"a.service\"]\n");
    site.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    built(&site);
    assert_eq!(
        site.succeeds(&["why", "etcd"]),
        "etcd is up to date: its plan is unchanged since the last build\nsince the previous plan, 1 line changed:\n  \
         added    unit a.service: recipes/roles/etcd.toml:4\n"
    );
}

fn git(site: &Site, args: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@b.test", "-c", "init.defaultBranch=main"]).args(args);
    command.current_dir(site.dir.path()).env("HOME", site.path("home"));
    let output = command.output().unwrap_or_else(|e| panic!("git is missing: run tests/setup.sh ({e})"));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn revisions_differ_by_their_locks() {
    let site = Site::new();
    git(&site, &["init", "-q"]);
    git(&site, &["add", "lockfiles", "recipes"]);
    git(&site, &["commit", "-qm", "one"]);
    let lock = site.read("lockfiles/debian.lock");
    let (old, new) = (Sha256::of(contents(TWO)).to_string(), "0".repeat(64));
    site.write("lockfiles/debian.lock", &lock.replace(&old, &new));
    git(&site, &["commit", "-qam", "two"]);
    let shout = format!("lockfiles/debian.lock\nOTHER BYTES package two (all): 1: sha256:{old} → sha256:{new}\n");
    assert_eq!(site.succeeds(&["diff", "HEAD~1"]), shout);
    assert_eq!(site.succeeds(&["diff", "HEAD~1", "HEAD"]), shout);
    assert_eq!(site.succeeds(&["diff", "HEAD"]), "");
    assert_eq!(site.succeeds(&["diff", "HEAD~1", "lockfiles/debian.lock"]), shout.split_once('\n').unwrap().1);
    // The folder's recipes with another lockfile.
    site.write("lockfiles/debian.lock", &lock);
    assert_eq!(site.succeeds(&["diff", "HEAD~1"]), "", "the folder counts, not the last commit");
    site.write("lockfiles/other.lock", &lock.replace("channel = \"debian\"", "channel = \"other\""));
    let run = |args: &[&str]| {
        let output = site.kbake(args).env_remove("KBAKE_CHANNEL").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["diff", "HEAD~1"]), "lockfiles/other.lock\nadd         the whole lockfile\n");
    assert_eq!(run(&["diff", "HEAD~1", "--channel", "debian"]), "", "one channel alone");
    // A project in a folder of its repository.
    fs::create_dir(site.path("sub")).unwrap();
    for folder in ["recipes", "lockfiles"] {
        fs::rename(site.path(folder), site.path("sub").join(folder)).unwrap();
    }
    git(&site, &["add", "-A", "sub"]);
    git(&site, &["commit", "-qm", "three"]);
    fs::write(site.path("sub/lockfiles/debian.lock"), lock.replace(&old, &new)).unwrap();
    assert_eq!(site.succeeds(&["diff", "HEAD", "--project", "sub"]), shout);

    for (args, words) in [
        (&["diff", "nonesuch", "--project", "sub"][..], &["git cannot resolve nonesuch", "hint: name a revision"][..]),
        (&["diff", "", "--project", "sub"], &["is not a git revision"]),
    ] {
        says(&site.fails(1, args), words);
    }
    let output = site.kbake(&["diff", "HEAD", "--project", "sub"]).env("PATH", site.path("home")).output().unwrap();
    says(&site::said(1, &output), &["error: `git` is not installed", "hint: install the package `git`"]);
}

#[test]
fn files_are_compared_by_what_is_in_them() {
    let site = Site::new();
    let lock = site.read("lockfiles/debian.lock");
    site.write("a.lock", &lock);
    site.write("b.lock", &lock.replace("name = \"bookworm\"", "name = \"trixie\""));
    let moves = [
        "move        suite debian/bookworm (main): not resolved → none\n",
        "move        suite debian/trixie (main): none → not resolved\n",
    ];
    assert_eq!(site.succeeds(&["diff", "a.lock", "b.lock"]), moves.concat());
    assert_eq!(site.succeeds(&["diff", "a.lock"]), "", "as the project has it");
    let plan = site.succeeds(&["plan", "etcd"]);
    site.write("a.plan", &plan);
    site.write("recipes/roles/etcd.toml", "description = \"a role\"\npackages = [\"two\"]\n[units]\nmask = [\"a.service\"]\n");
    site.write("b.plan", &site.succeeds(&["plan", "etcd"]));
    assert_eq!(site.succeeds(&["diff", "a.plan", "b.plan"]), "added    unit a.service\n");
    assert_eq!(site.succeeds(&["diff", "a.plan", "a.plan"]), "");
    // Two disks; other tests compare contents.
    fs::write(site.path("a.raw"), vec![0; 1 << 20]).unwrap();
    fs::write(site.path("b.raw"), [vec![0; 1 << 19], vec![1; 1 << 19]].concat()).unwrap();
    assert_eq!(site.succeeds(&["diff", "a.raw", "a.raw"]), "");
    assert!(site.succeeds(&["diff", "a.raw", "b.raw"]).contains(" → "));
    site.write("odd", "what is this\n");
    for (code, args, words) in [
        (2, &["diff", "a.lock", "b.plan"][..], "a.lock is a lockfile, and b.plan is a plan: they cannot be compared"),
        (2, &["diff", "a.plan"], "a.plan is a plan: name a second one"),
        (2, &["diff", "a.raw"], "a.raw is a disk image: name a second one"),
        (1, &["diff", "odd", "a.plan"], "odd is not a plan, lockfile or disk image"),
    ] {
        says(&site.fails(code, args), &[words]);
    }
}
