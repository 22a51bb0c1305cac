//! `kbake store` and `kbake gc`: contents, garbage collection, and lower stores. The only servers are on loopback.

use std::fs;
use std::path::{Path, PathBuf};

use kbake::value::Sha256;

use crate::support::site::{ONE, Site, TOOL, TWO, contents, fetched, said, says, store_of};

/// The cells of the line that begins so.
fn line(text: &str, begin: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no `{begin}` in:\n{text}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

#[test]
fn what_a_project_needs_stays_and_goes_with_it() {
    let (site, _web) = fetched();
    fs::write(store_of(&site).join("blobs/sha256").join(Sha256::of("loose").to_string()), "loose").unwrap();
    let text = site.succeeds(&["store"]);
    assert_eq!(line(&text, "inputs")[1], "3", "{text}");
    assert_eq!(line(&text, "unreferenced blobs")[1..], ["1", "5 B", "5 B"], "{text}");
    let root = line(&text, "etcd");
    assert_eq!((&*root[1], &*root[3], &*root[4]), ("debian", "0 B", "its lockfile"), "{text}");
    assert_eq!(Path::new(&root[5]), fs::canonicalize(site.dir.path()).unwrap(), "{text}");
    says(&text, &[" unneeded: `kbake gc` removes it", " free on its disk"]);

    let before = site.blobs().len();
    let dry = site.succeeds(&["gc", "--dry-run"]);
    says(&dry, &["would be removed", "unreferenced blobs", "would be left: "]);
    assert_eq!(site.blobs().len(), before);
    let done = site.succeeds(&["gc"]);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&done), words(&dry.replace("would be ", "")), "what it said that it would do");
    assert_eq!(site.blobs().len(), before - 1);
    says(&site.succeeds(&["gc"]), &["nothing to remove\nleft: "]);
    site.succeeds(&["fetch", "etcd", "--offline"]);

    // Without its lockfile no project needs it; but it was used today.
    fs::remove_file(site.path("lockfiles/debian.lock")).unwrap();
    says(&site.succeeds(&["gc", "--keep-days", "1"]), &["nothing to remove"]);
    let output = site.kbake(&["gc", "--keep-days", "1", "--max-size", "1K"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    says(&String::from_utf8_lossy(&output.stderr), &["remains larger than 1.0 KiB: 0 B needed, ", " recently used (--keep-days 1)"]);
    let output = site.kbake(&["gc"]).output().unwrap();
    says(&String::from_utf8_lossy(&output.stderr), &["etcd of channel debian in /", "no longer exists; its blobs are no longer needed"]);
    says(&String::from_utf8_lossy(&output.stdout), &["inputs: ", "left: 0 B, 0 B of it needed"]);
    assert_eq!(site.blobs(), [""; 0]);
}

#[test]
fn a_size_is_kept_to_and_no_more_is_removed() {
    let (site, _web) = fetched();
    for (n, age) in [(1, 30), (2, 10), (3, 20)] {
        let bytes = vec![n; 1 << 20];
        let path = store_of(&site).join("blobs/sha256").join(Sha256::of(&bytes).to_string());
        fs::write(&path, &bytes).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age * 86_400)).unwrap();
    }
    let has = |n: u8| site.blobs().contains(&Sha256::of(vec![n; 1 << 20]).to_string());
    let needed: u64 = [ONE, TWO, TOOL].iter().map(|path| contents(path).len() as u64).sum();
    let size = |more: u64| format!("{}K", (needed >> 10) + 100 + (more << 10));
    site.succeeds(&["gc", "--max-size", &size(3)]);
    assert_eq!([has(1), has(2), has(3)], [true, true, true]);
    site.succeeds(&["gc", "--max-size", &size(2)]);
    assert_eq!([has(1), has(2), has(3)], [false, true, true], "the one of longest ago");
    site.succeeds(&["gc", "--keep-days", "15"]);
    assert_eq!([has(1), has(2), has(3)], [false, true, false]);
    let output = site.kbake(&["gc", "--max-size", "1M"]).output().unwrap();
    says(&String::from_utf8_lossy(&output.stderr), &["remains larger than 1.0 MiB: everything in it is needed"]);
    assert!(!has(2));
    site.succeeds(&["fetch", "etcd", "--offline"]);
}

#[test]
fn a_lower_store_is_read_and_never_written() {
    let (host, web) = fetched();
    let lower = store_of(&host);
    let listing = || {
        let mut all: Vec<PathBuf> = Vec::new();
        let mut folders = vec![lower.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { all.push(path) }
            }
        }
        all.sort();
        all
    };
    let before = listing();
    let job = Site::new();
    let text = job.fails(3, &["fetch", "etcd", "--offline"]);
    says(&text, &["3 artifacts are missing"]);
    // By flag, by variable (empty parts are ignored), by configuration.
    let shown = lower.to_str().unwrap();
    job.succeeds(&["fetch", "etcd", "--offline", "--lower-store", shown]);
    for list in [shown.to_owned(), format!(":{shown}:")] {
        let output = job.kbake(&["fetch", "etcd", "--offline"]).env("KBAKE_LOWER_STORES", list).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    said(3, &job.kbake(&["fetch", "etcd", "--offline"]).env("KBAKE_LOWER_STORES", "").output().unwrap());
    fs::create_dir_all(job.path("home/.config/kbake")).unwrap();
    job.write("home/.config/kbake/config.toml", &format!("[store]\nlower = [\"{shown}\"]\n"));
    job.succeeds(&["fetch", "etcd", "--offline"]);
    let text = job.succeeds(&["store"]);
    says(&text, &["lower store", shown]);
    assert!(!text.contains("inputs"), "none of its own: {text}");

    // A truncated blob is noticed, and only that one is fetched; the next command has it.
    let one = lower.join("blobs/sha256").join(Sha256::of(contents(ONE)).to_string());
    fs::remove_file(&one).unwrap();
    fs::write(&one, &contents(ONE)[..1000]).unwrap();
    let text = job.fails(3, &["fetch", "etcd", "--offline"]);
    says(&text, &["1 artifact is missing", ONE]);
    job.succeeds(&["fetch", "etcd", "--mirror", &web.base]);
    assert!(job.blobs().contains(&Sha256::of(contents(ONE)).to_string()));
    assert!(!job.blobs().contains(&Sha256::of(contents(TWO)).to_string()), "that is below");
    job.succeeds(&["fetch", "etcd", "--offline"]);
    says(&job.succeeds(&["store"]), &["marks for damaged blobs and false entries of lower stores"]);
    job.succeeds(&["gc"]);
    job.succeeds(&["fetch", "etcd", "--offline"]);
    assert_eq!(listing(), before);
    assert_eq!(fs::read(&one).unwrap().len(), 1000, "not ours to repair");
}

#[test]
fn a_lower_store_that_is_none_is_named() {
    let (site, _web) = fetched();
    let text = site.fails(1, &["store", "--lower-store", "/nonexistent/kbake"]);
    says(&text, &["error: the lower store /nonexistent/kbake does not exist"]);
    fs::create_dir(site.path("odd")).unwrap();
    let text = site.fails(1, &["store", "--lower-store", "odd"]);
    says(&text, &["odd cannot be used as a lower store", "no file `format`", "hint: name the folder of a kbake store"]);
    fs::write(site.path("odd/format"), "2\n").unwrap();
    says(&site.fails(1, &["store", "--lower-store", "odd"]), &["its format is 2, this kbake knows 1"]);
}

#[test]
fn who_looks_after_a_store_does_not_make_one() {
    let site = Site::new();
    for command in ["store", "gc", "verify"] {
        says(
            &site.fails(1, &[command, "--store", "mistyped"]),
            &["error: there is no store in mistyped", "hint: name its folder with --store"],
        );
        assert!(!site.path("mistyped").exists(), "{command}");
    }
}

#[test]
fn a_root_that_cannot_be_understood_stops_the_collection() {
    let (site, _web) = fetched();
    let roots = store_of(&site).join("roots");
    let root = fs::read_dir(&roots).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&root).unwrap();
    fs::write(&root, text.replace("debian", "debiaN")).unwrap();
    let said = site.fails(4, &["gc"]);
    says(&said, &["is unreadable, so its needs are unknown", root.file_name().unwrap().to_str().unwrap(), "nothing was removed"]);
    assert_eq!(site.blobs().len(), 5, "three packages, the plan and its causes");
    // The command of the hint.
    site.succeeds(&["fetch", "etcd", "--offline"]);
    site.succeeds(&["gc"]);
    assert_eq!(site.blobs().len(), 5);
}
