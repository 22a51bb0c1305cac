use super::*;

fn inputs() -> Inputs {
    let package = |name: &str| Package { name: name.into(), digest: Sha256::of(name) };
    let file = |bytes: &[u8]| PlannedNode { mode: 0o644, owner: Owner::root(), kind: PlannedKind::File(bytes.into()) };
    Inputs {
        role: "etcd".parse().unwrap(),
        arch: Arch::Amd64,
        epoch: Epoch::from_seconds(1_767_225_600).unwrap(),
        base_format: "1".into(),
        packages: vec![package("zlib1g"), package("adduser")],
        common: ["adduser".to_owned()].into(),
        cleared: BTreeSet::new(),
        common_cleared: BTreeSet::new(),
        installer: package("mmdebstrap"),
        tools: vec![package("grub-pc-bin")],
        files: BTreeMap::from([
            (TreePath::fixed("etc/fstab"), file(b"x\n")),
            (TreePath::fixed("etc/b c"), PlannedNode { kind: PlannedKind::Symlink(b"../a b".to_vec()), ..file(b"") }),
            (TreePath::fixed("etc/motd"), PlannedNode { kind: PlannedKind::Absent, ..file(b"") }),
        ]),
        presets: BTreeMap::from([("ssh.service".to_owned(), Preset::Disable)]),
        users: BTreeMap::new(),
    }
}

#[test]
fn the_text_is_sorted_and_stable() {
    let plan = Plan::new(inputs()).unwrap();
    let expected = format!(
        "kbake-plan 1\nimage-format {IMAGE_FORMAT}\ndisk-size 21474836480\nroot-slack 536870912\nroot-label kbake-root\nroot-uuid {}\n\
         arch amd64\nepoch 1767225600\nbase-format 1\n\
         installer mmdebstrap {}\ndeb adduser {}\ndeb zlib1g {} on-top\ntool grub-pc-bin {}\n\
         symlink /etc/b\\x20c ../a\\x20b\nfile /etc/fstab 0644 root root 2 {}\nabsent /etc/motd\nunit ssh.service disable\n",
        plan.root_uuid(),
        Sha256::of("mmdebstrap"),
        Sha256::of("adduser"),
        Sha256::of("zlib1g"),
        Sha256::of("grub-pc-bin"),
        Sha256::of("x\n"),
    );
    assert_eq!(plan.text(), expected);
    assert_eq!(plan.key(), Sha256::of(expected));
}

#[test]
fn the_ground_is_the_base_of_a_role_without_more() {
    let plan = Plan::new(inputs()).unwrap();
    let mut least = inputs();
    least.packages.retain(|package| package.name == "adduser");
    let least = Plan::new(least).unwrap();
    assert_eq!((plan.ground_key(), least.ground_key()), (Some(least.base_key()), None));
    for common in [&["adduser", "zlib1g"][..], &[]] {
        let mut all = inputs();
        all.common = common.iter().map(|&name| name.to_owned()).collect();
        let all = Plan::new(all).unwrap();
        assert!(all.ground_key().is_none() && all.base_key() != plan.base_key(), "{common:?}: all in one step");
    }
}

#[test]
fn order_of_the_inputs_does_not_matter() {
    let mut other = inputs();
    other.packages.reverse();
    assert_eq!(Plan::new(other).unwrap().key(), Plan::new(inputs()).unwrap().key());
}

#[test]
fn every_input_changes_the_identity() {
    let base = Plan::new(inputs()).unwrap();
    let changed = |change: &dyn Fn(&mut Inputs)| {
        let mut other = inputs();
        change(&mut other);
        let plan = Plan::new(other).unwrap();
        (plan.key() != base.key(), plan.base_key() != base.base_key())
    };
    assert_eq!(changed(&|i| i.role = "worker".parse().unwrap()), (true, false), "roles share an equal base");
    assert_eq!(changed(&|i| i.epoch = Epoch::from_seconds(1).unwrap()), (true, true));
    assert_eq!(changed(&|i| i.base_format = "2".into()), (true, true));
    assert_eq!(changed(&|i| i.packages[0].digest = Sha256::of("?")), (true, true));
    assert_eq!(changed(&|i| i.common.clear()), (true, true));
    assert_eq!(changed(&|i| i.installer.digest = Sha256::of("?")), (true, true));
    assert_eq!(changed(&|i| i.tools[0].digest = Sha256::of("?")), (true, false));
    assert_eq!(changed(&|i| i.files.values_mut().next().unwrap().kind = PlannedKind::Dir), (true, false));
    assert_eq!(changed(&|i| i.files.values_mut().nth(1).unwrap().mode = 0o600), (true, false));
    assert_eq!(changed(&|i| i.files.values_mut().nth(1).unwrap().owner.user = "etcd".into()), (true, false));
    assert_eq!(changed(&|i| i.presets.clear()), (true, false));
}

#[test]
fn a_name_with_two_digests_is_refused() {
    let mut two = inputs();
    two.packages.push(Package { name: "adduser".into(), digest: Sha256::of("other") });
    let error = Plan::new(two).unwrap_err();
    assert!(error.message().contains("`adduser` is locked twice"), "{error}");
}

#[test]
fn a_large_file_has_the_line_of_a_small_one() {
    let named = |kind| PlannedNode { mode: 0o755, owner: Owner::root(), kind };
    let path = TreePath::fixed("usr/bin/x");
    let held = named(PlannedKind::File(b"x\n".as_slice().into())).line(&path);
    assert_eq!(named(PlannedKind::Named { digest: Sha256::of("x\n"), size: 2 }).line(&path), held);
}

#[test]
fn what_is_cleared_decides_the_base_and_that_of_every_role_only_for_every_role() {
    let paths = |paths: &[&str]| paths.iter().map(|path| TreePath::fixed(path)).collect::<BTreeSet<_>>();
    let with = |cleared: &[&str], common: &[&str]| {
        Plan::new(Inputs { cleared: paths(cleared), common_cleared: paths(common), ..inputs() }).unwrap()
    };
    let (none, role, all) = (with(&[], &[]), with(&["etc/a b"], &[]), with(&["etc/a b"], &["etc/a b"]));
    assert!(role.text().contains("\nclear /etc/a\\x20b\ndeb "), "{}", role.text());
    assert!(none.base_key() != role.base_key() && none.ground_key() == role.ground_key());
    assert!(all.base_key() == role.base_key() && all.ground_key() != role.ground_key());
    let lines = |plan: &Plan| compare::lines(&plan.text(), "a plan").unwrap();
    let changes = compare::compare(&lines(&none), &lines(&role));
    assert_eq!(
        changes.iter().map(|change| format!("{} {}", change.word(), change.subject)).collect::<Vec<_>>(),
        ["added clear /etc/a\\x20b"]
    );
    assert!(changes[0].subject.is_of_base());
}
