//! The project that a command is about: names, `init`, hints, plans and bills of materials that do not depend on the caller.

use super::*;

#[test]
fn unknown_names_get_the_known_ones() {
    let site = Site::new();
    says(&site.fails(1, &["build", "etdc"]), &["error: unknown role `etdc`", "known: etcd", "hint: "]);
    says(&site.fails(1, &["plan", "../etcd"]), &["error: unknown role"]);
    says(&site.fails(1, &["plan", "etcd", "--channel", "upstream"]), &["error: unknown channel `upstream`", "known: debian", "hint: "]);
    says(&site.fails(1, &["plan", "etcd", "--project", "/nowhere"]), &["/nowhere", "kbake init"]);
}

#[test]
fn the_plan_does_not_depend_on_who_asks() {
    let site = Site::new();
    let plan = site.succeeds(&["plan", "etcd"]);
    assert_eq!(site.succeeds(&["plan", "etcd", "--key"]).trim(), Sha256::of(&plan).to_string());
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = program::kbake_by("sh", &["-c", "umask 077; exec \"$@\"", "sh"], elsewhere.path());
    command.args(["plan", "etcd", "--project"]).arg(site.dir.path());
    command.env("TZ", "Asia/Tokyo").env("LC_ALL", "tr_TR.UTF-8").env("KBAKE_CHANNEL", "debian");
    assert_eq!(String::from_utf8(command.output().unwrap().stdout).unwrap(), plan);
    // Without a project the shipped one is used.
    let planned = |folder: &Path| {
        let output = program::kbake(folder).args(["plan", "etcd"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(planned(elsewhere.path()), planned(program::project()));
}

/// Otherwise a test would depend on the user who runs it.
#[test]
fn tests_see_nothing_of_who_runs_them() {
    let home = tempfile::tempdir().unwrap();
    let output = program::kbake_by("sh", &["-c", "env", "sh"], home.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // The shell sets these itself.
    let mut seen: Vec<&str> =
        text.lines().filter(|line| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|own| line.starts_with(own))).collect();
    seen.sort_unstable();
    assert_eq!(seen, [format!("HOME={}", home.path().display()).as_str(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
    let mut files: Vec<String> =
        fs::read_dir(program::project()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["images", "lockfiles", "recipes"]);
    let images: Vec<_> = fs::read_dir(program::project().join("images")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(images, ["expected.toml"]);
}

#[test]
fn init_writes_what_is_missing_and_nothing_else() {
    let site = Site::new();
    let before = site.read("recipes/base.toml");
    let written = site.succeeds(&["init", "new"]);
    assert!(written.lines().any(|line| line == "new/recipes/roles/etcd.toml"), "{written}");
    assert_eq!(site.read("new/lockfiles/debian.lock"), fs::read_to_string(Path::new(ROOT).join("lockfiles/debian.lock")).unwrap());
    // An example cluster file of roles that the shipped recipes can build; an existing one is kept.
    assert!(written.lines().any(|line| line == "new/cluster.toml"), "{written}");
    assert_eq!(site.read("new/cluster.toml"), site.read("new/recipes/clusters/lab.toml"));
    site.write("cluster.toml", "# mine\n");
    site.succeeds(&["init"]);
    assert_eq!(site.read("cluster.toml"), "# mine\n");
    assert_eq!(site.read("recipes/base.toml"), before);
    // Images and private files stay out of git; a note names the lines that an existing .gitignore lacks.
    for line in ["/images/*", "!/images/expected.toml", "secrets/", "kubeconfig", "*.iso"] {
        assert!(site.read("new/.gitignore").lines().any(|found| found == line), "{line}");
    }
    site.write(".gitignore", "/images/*\n/secrets\n");
    let output = site.kbake(&["init"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    says(&told, &["note: ./.gitignore lacks lines that keep images and keys out of git: !/images/expected.toml kubeconfig "]);
    assert_eq!(site.read(".gitignore"), "/images/*\n/secrets\n");
    assert!(site.succeeds(&["roles"]).contains("etcd\ta role\n"), "its own recipe is kept");
}

/// The commands that a message tells to type, as words.
fn commands_in(text: &str) -> Vec<Vec<String>> {
    let hints = text.lines().filter(|line| line.starts_with("hint: "));
    let quoted = hints.flat_map(|hint| hint.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    let commands = quoted.filter_map(|command| command.strip_prefix("kbake ").map(str::to_owned));
    commands.map(|command| command.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn a_hint_typed_as_it_stands_is_about_the_same_project_channel_and_store() {
    let site = Site::new();
    fs::create_dir(site.path("elsewhere")).unwrap();
    // A second channel of the same packages, which the hint must leave alone.
    let other = site.read("recipes/sources/debian.toml").replace("channel = \"debian\"", "channel = \"other\"");
    site.write("recipes/sources/other.toml", &other);
    let lock = site.read("lockfiles/debian.lock");
    site.write("lockfiles/other.lock", &lock.replace("channel = \"debian\"", "channel = \"other\""));
    // A role with a package that the base has: stale, and locked again without network.
    site.write("recipes/roles/new.toml", "description = \"new\"\npackages = [\"one\"]\n");
    let run = |args: &[String]| {
        let mut command = program::kbake(&site.path("elsewhere"));
        command.args(args).env("HOME", site.path("home")).output().unwrap()
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let failed = said(1, &run(&words("plan new --project .. --channel other --store ../store")));
    let [command] = &commands_in(&failed)[..] else { panic!("{failed}") };
    assert_eq!(command.join(" "), "lock --channel other --project .. --store ../store");
    let output = run(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(site.read("lockfiles/debian.lock"), lock, "the other channel's");
    assert!(site.read("lockfiles/other.lock").contains("\nnew = [\n"));
    assert!(run(&words("plan new --project .. --channel other")).status.success());
    assert!(!site.path("home/.cache/kbake").exists(), "the store is the one that was named");
}

#[test]
fn the_only_channel_is_the_usual_one_and_editors_files_are_none() {
    let site = Site::new();
    let run = |args: &[&str]| site.kbake(args).env_remove("KBAKE_CHANNEL").output().unwrap();
    let plan = run(&["plan", "etcd"]);
    assert_eq!((plan.status.code(), &plan.stderr[..]), (Some(0), &b""[..]), "{}", String::from_utf8_lossy(&plan.stderr));
    fs::write(site.path("recipes/roles/._etcd.toml"), b"\x00\x05\x16\x07").unwrap();
    std::os::unix::fs::symlink("me@host.1234", site.path("recipes/sources/.#debian.toml")).unwrap();
    let again = run(&["plan", "etcd"]);
    assert_eq!(again.stdout, plan.stdout);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    for name in ["recipes/roles/._etcd.toml", "recipes/sources/.#debian.toml"] {
        assert_eq!(said.matches(&format!("note: {name} is skipped")).count(), 1, "{said}");
    }
    site.write("recipes/sources/other.toml", "channel = \"other\"\nbase = \"debian\"\n");
    says(&said_by(&run(&["plan", "etcd"])), &["unknown channel `upstream`", "known: debian, other"]);
}

#[test]
fn a_bill_of_materials_needs_nothing_but_the_lockfile() {
    let site = Site::new();
    // No PATH, so nothing is run; no home, so there is no store; another time zone and language.
    let run = |args: &[&str]| {
        let mut command = site.kbake(&[&["sbom", "etcd"], args].concat());
        command.env_clear().env("KBAKE_CHANNEL", "debian").env("TZ", "Pacific/Chatham").env("LC_ALL", "tr_TR.UTF-8");
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&[]);
    assert_eq!(text, run(&["--format", "cyclonedx"]));
    assert_eq!(text, site.succeeds(&["sbom", "etcd"]), "one text on every host");
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let items = found["components"].as_array().unwrap();
    let of = |name: &str| items.iter().find(|item| item["name"] == name).unwrap();
    for (name, path) in [("one", ONE), ("two", TWO)] {
        assert_eq!(of(name)["purl"], format!("pkg:deb/debian/{name}@1?arch=all&distro=bookworm"));
        assert_eq!(of(name)["hashes"][0]["content"], Sha256::of(contents(path)).to_string());
    }
    assert_eq!(items.len(), 2, "what only makes the image is not in it");
    assert_eq!(found["metadata"]["tools"]["components"][0]["name"], "mmdebstrap");
    let key = site.succeeds(&["plan", "etcd", "--key"]);
    assert_eq!(found["metadata"]["component"]["version"], key.trim());
    let found: serde_json::Value = serde_json::from_str(&run(&["--format", "spdx"])).unwrap();
    assert_eq!((&found["spdxVersion"], found["packages"].as_array().unwrap().len()), (&"SPDX-2.3".into(), 5));

    says(
        &site.fails(1, &["sbom", "etcd", "--contents"]),
        &["error: 2 inputs of `etcd` are not in the store", "one  sha256:", "two  sha256:", "hint: run `kbake fetch etcd"],
    );
    says(&site.fails(1, &["sbom", "nothing"]), &["error: unknown role `nothing`", "known: etcd"]);
    says(&site.fails(2, &["sbom", "etcd", "--format", "xml"]), &["invalid value 'xml'", "cyclonedx", "spdx"]);
    fs::remove_file(site.path("lockfiles/debian.lock")).unwrap();
    says(&site.fails(1, &["sbom", "etcd"]), &["lockfiles/debian.lock is missing", "hint: run `kbake lock"]);
}
