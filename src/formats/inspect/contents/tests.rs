use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
pub(crate) use crate::common::testing::shared::go::{aligned, elf, go_program, info, old_go_program};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn at(path: &str, bytes: &[u8]) -> Option<Content> {
    content(&TreePath::fixed(path), bytes).unwrap()
}

fn program(bytes: &[u8]) -> Option<Result<GoProgram, String>> {
    match at("usr/bin/program", bytes) {
        Some(Content::Go(found)) => Some(found),
        None => None,
        other => panic!("{other:?}"),
    }
}

type Row = (String, Option<String>, Option<String>);

/// All modules of a program, the main one first.
fn rows(program: &GoProgram) -> Vec<Row> {
    let row = |module: &GoModule| (module.path.clone(), module.version.clone(), module.sum.clone());
    program.main.iter().chain(&program.modules).map(row).collect()
}

/// The output of `go version -m`: version, main package, all modules.
fn judged(file: &Path) -> (String, Option<String>, Vec<Row>) {
    let done = Command::new("go").args(["version", "-m", "-json"]).arg(file).output().unwrap_or_else(|e| panic!("go is missing: {e}"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let text = |value: &Value| value.as_str().filter(|text| !["", "(devel)"].contains(text)).map(str::to_owned);
    let row = |module: &Value| {
        let named = module.get("Replace").filter(|by| !by["Path"].as_str().unwrap().starts_with('.')).unwrap_or(module);
        let is_folder = module.get("Replace").is_some() && std::ptr::eq(named, module);
        let version = if is_folder { (None, None) } else { (text(&named["Version"]), text(&named["Sum"])) };
        (text(&named["Path"]).unwrap(), version.0, version.1)
    };
    let main = said.get("Main").filter(|main| main["Path"] != "");
    let modules = main.into_iter().chain(said["Deps"].as_array().into_iter().flatten()).map(row).collect();
    (text(&said["GoVersion"]).unwrap(), text(&said["Path"]), modules)
}

#[track_caller]
fn read_as_go_does(file: &Path) -> GoProgram {
    let found = content(&TreePath::fixed("p"), std::fs::File::open(file).unwrap()).unwrap();
    let Some(Content::Go(Ok(program))) = found else { panic!("{}: {found:?}", file.display()) };
    assert_eq!((program.go.clone(), program.package.clone(), rows(&program)), judged(file), "{}", file.display());
    program
}

#[test]
fn the_components_programs_are_read_as_go_reads_them() {
    let script = format!("{ROOT}/tests/kubernetes/build");
    let said = Command::new(&script).arg("--folder").output().unwrap();
    let folder = PathBuf::from(String::from_utf8(said.stdout).unwrap().trim());
    let mut programs = 0;
    // runc is linked by the C linker, the others by Go's.
    for (component, main) in [
        ("runc", "github.com/opencontainers/runc"),
        ("crictl", "sigs.k8s.io/cri-tools"),
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("containerd", "github.com/containerd/containerd/v2"),
        ("cni-plugins", "github.com/containernetworking/plugins"),
        ("coredns", "github.com/coredns/coredns"),
        ("kubernetes-1.36", "k8s.io/kubernetes"),
    ] {
        let files = std::fs::read_dir(folder.join(component));
        let files = files.unwrap_or_else(|e| panic!("{component} is missing ({e}): run {script} {} {component}", folder.display()));
        let mut mains = Vec::new();
        for file in files.map(|file| file.unwrap().path()).filter(|file| file.extension().is_none_or(|ending| ending != "yaml")) {
            let program = read_as_go_does(&file);
            mains.extend(program.main.filter(|main| main.version.is_some()).map(|main| main.path));
            programs += 1;
        }
        assert!(mains.iter().any(|found| found == main), "{component}: {mains:?}");
    }
    assert!(programs > 30, "{programs}");
}

/// Builds a small program in `folder`, which has a module in a folder beside it.
fn built(folder: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let files = [
        (
            "go.mod",
            "module example.test/Program/v2\n\ngo 1.21\n\nrequire example.test/part v1.2.3\n\nreplace example.test/part => ./part\n",
        ),
        ("main.go", "package main\n\nimport \"example.test/part\"\n\nfunc main() { println(part.Name) }\n"),
        ("part/go.mod", "module example.test/part\n"),
        ("part/part.go", "package part\n\n// Name is one.\nconst Name = \"part\"\n"),
    ];
    std::fs::create_dir_all(folder.join("part")).unwrap();
    files.iter().for_each(|(file, text)| std::fs::write(folder.join(file), text).unwrap());
    let mut command = Command::new("go");
    command.current_dir(folder).args(["build", "-o", name]).args(flags).arg(".");
    command.env("CGO_ENABLED", "0").env("GOENV", "off").env("GOTOOLCHAIN", "local").env("GOWORK", "off").env("GOFLAGS", "-buildvcs=false");
    let done = command.output().unwrap_or_else(|e| panic!("go is missing: {e}"));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    folder.join(name)
}

#[test]
fn programs_of_all_forms_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for (name, flags) in [("plain", &[][..]), ("small", &["-ldflags=-s -w", "-trimpath"]), ("anywhere", &["-buildmode=pie"])] {
        let program = read_as_go_does(&built(folder.path(), name, flags));
        assert_eq!(program.main.as_ref().unwrap().path, "example.test/Program/v2", "{name}");
        let [part] = &program.modules[..] else { panic!("{:?}", program.modules) };
        assert_eq!((part.path.as_str(), &part.version, &part.replacement), ("example.test/part", &None, &Some(Replacement::Folder)));
        assert!(program.library().is_some_and(|version| program.go == format!("go{version}")));
    }
    // Section headers may be missing: nothing reads them.
    let mut bytes = std::fs::read(folder.path().join("small")).unwrap();
    bytes[40..48].fill(0);
    bytes[60..64].fill(0);
    assert!(matches!(program(&bytes), Some(Ok(_))));
}

#[test]
fn a_replaced_module_is_the_one_that_is_there() {
    let text = "path\tex.test/a/cmd\nmod\tex.test/a\t(devel)\t\ndep\tb.test/x\tv1.0.0\n=>\tc.test/x\tv1.0.1\th1:sum=\ndep\td.test/y\tv0.0.0\n\
                =>\t./staging/src/d.test/y\t(devel)\t\ndep\te.test/z\tv2.0.0+incompatible\th1:z=\nbuild\tvcs.revision=abc\nnew\tline\n";
    let Some(Ok(found)) = program(&aligned(0, &info("go1.20 X:loopvar", text))) else { panic!() };
    let module = |path: &str, version: Option<&str>, sum: Option<&str>, replacement| GoModule {
        path: path.into(),
        version: version.map(Into::into),
        sum: sum.map(Into::into),
        replacement,
    };
    assert_eq!(found.main, Some(module("ex.test/a", None, None, None)));
    assert_eq!(
        found.modules,
        [
            module("c.test/x", Some("v1.0.1"), Some("h1:sum="), Some(Replacement::Of("b.test/x@v1.0.0".into()))),
            module("d.test/y", None, None, Some(Replacement::Folder)),
            module("e.test/z", Some("v2.0.0+incompatible"), Some("h1:z="), None),
        ]
    );
    assert_eq!((found.revision.as_deref(), found.library(), found.package.as_deref()), (Some("abc"), Some("1.20"), Some("ex.test/a/cmd")));
    let without = program(&aligned(0, &info("devel go1.27-abc", ""))).unwrap().unwrap();
    assert_eq!(
        (without.library(), without.main.clone(), without.modules.len()),
        (None, None, 0),
        "a program that was built without modules"
    );
}

#[test]
fn the_place_in_the_file_does_not_matter() {
    let real = info("go1.26.8", "path\tp\n");
    for before in [0, 1, 9, 65_400, 65_416, 70_000] {
        for gap in [0, 16, 65_520, 65_536, 1 << 20] {
            let data = [vec![0; gap], real.clone(), vec![1; 40_000]].concat();
            assert!(matches!(program(&aligned(before, &data)), Some(Ok(_))), "{before} {gap}");
        }
    }
    // A false candidate, as in a program that reads build information itself.
    let literal = [&b"\xff Go buildinf:\x00\x00"[..], &real].concat();
    assert!(matches!(program(&aligned(0, &literal)), Some(Ok(_))));
    assert_eq!(program(&aligned(0, &[&[0; 8], &real[..]].concat())), None, "at no multiple of 16");
    let mut code = aligned(0, &real);
    code[68] = 5;
    assert_eq!(program(&code), None, "in code");
}

#[test]
fn what_cannot_be_read_is_named() {
    let old = old_go_program();
    let old = &old[128..];
    let cut = &info("go1.26.8", "path\tp\n")[..50];
    let unnamed = info("", "path\tp\n");
    let odd = info("go1.26.8", "dep\tno version\n");
    let early = info("go1.26.8", "=>\ta\tv1\th1:\n");
    let control = info("go1.26.8", "path\t\u{1b}[31m\n");
    let long = [&b"\xff Go buildinf:\x08\x02"[..], &[0; 16], &[0xff; 10]].concat();
    for (data, expected) in [
        (old, "Go before 1.18"),
        (cut, "damaged"),
        (&unnamed, "no version of Go"),
        (&odd, "not a path with a version"),
        (&early, "replaces no module"),
        (&control, "not text"),
        (&long, "damaged"),
    ] {
        let Some(Err(why)) = program(&aligned(0, data)) else { panic!("{expected}") };
        assert!(why.contains(expected), "{why}");
    }
    for other in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &elf(0, &[0; 100])] {
        assert_eq!(program(other), None);
    }
}

#[test]
fn python_distributions_are_known_by_their_descriptions() {
    let text = b"Metadata-Version: 2.1\nname: PyYAML\nVersion: 6.0\nSummary: x\n\nName: other\nVersion: 2\n";
    let expected = Some(Content::Python(Distribution { name: "PyYAML".into(), version: "6.0".into() }));
    for path in ["usr/lib/python3/dist-packages/PyYAML-6.0.dist-info/METADATA", "a/PyYAML.egg-info/PKG-INFO", "a/PyYAML-6.0.egg-info"] {
        assert_eq!(at(path, text), expected, "{path}");
    }
    for path in ["a/METADATA", "a/PKG-INFO", "a/x.dist-info/RECORD", "a/x.egg-info/top_level.txt"] {
        assert_eq!(at(path, text), None, "{path}");
    }
    assert_eq!(at("a.dist-info/METADATA", b"Name: a\n\nVersion: 1\n"), None, "behind the header");
}

#[test]
fn databases_of_packages_are_read() {
    let package = |manager, name: &str, version: &str, arch: &str, source: &str| Installed {
        manager,
        name: name.into(),
        version: version.into(),
        arch: arch.into(),
        source: source.into(),
    };
    let status = b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9\nDescription: x\n y\n\n\
                   Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n\
                   Package: libgcc-s1\nStatus: install ok installed\nArchitecture: amd64\nSource: gcc-12 (12.2.0-14)\nVersion: 12.2.0-14+b1\n";
    let expected = vec![
        package(Manager::Dpkg, "libc6", "2.36-9", "amd64", "glibc"),
        package(Manager::Dpkg, "libgcc-s1", "12.2.0-14+b1", "amd64", "gcc-12"),
    ];
    assert_eq!(at("var/lib/dpkg/status", status), Some(Content::Installed(expected)));
    let one = vec![package(Manager::Dpkg, "tzdata", "2024a-0", "all", "tzdata")];
    let text = b"Package: tzdata\nArchitecture: all\nVersion: 2024a-0\n";
    assert_eq!(at("var/lib/dpkg/status.d/tzdata", text), Some(Content::Installed(one)));
    assert_eq!(at("var/lib/dpkg/status.d/tzdata.md5sums", text), None);
    let apk = b"C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\no:musl\n\nC:Q1y\nP:ssl_client\nV:1.36.1-r29\nA:x86_64\no:busybox\nF:usr\n";
    let expected = vec![
        package(Manager::Apk, "musl", "1.2.5-r0", "x86_64", "musl"),
        package(Manager::Apk, "ssl_client", "1.36.1-r29", "x86_64", "busybox"),
    ];
    assert_eq!(at("lib/apk/db/installed", apk), Some(Content::Installed(expected)));
    let system = |id: &str, version: Option<&str>, codename: Option<&str>| {
        Some(Content::System(System { id: Some(id.into()), version: version.map(Into::into), codename: codename.map(Into::into) }))
    };
    let release = b"PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
    assert_eq!(at("etc/os-release", release), system("debian", Some("12"), Some("bookworm")));
    assert_eq!(at("usr/lib/os-release", b"ID=alpine\nVERSION_ID='3 20'\n"), system("alpine", None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_bytes_are_survived(
        start in 0usize..40,
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..24),
        cut in any::<prop::sample::Index>(),
        modules in "([a-z=>]{1,5}\t?[a-z./@]{0,9}\t?[v0-9()]{0,6}\n){0,6}",
    ) {
        let mut bytes = aligned(start, &info("go1.26.8", &modules));
        for (place, byte) in noise {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        for path in ["usr/bin/p", "a.dist-info/METADATA", "var/lib/dpkg/status", "lib/apk/db/installed", "etc/os-release"] {
            let found = at(path, &bytes);
            if let Some(Content::Go(Ok(program))) = found {
                prop_assert!(program.modules.iter().all(|module| !module.path.is_empty()));
            }
        }
    }
}
