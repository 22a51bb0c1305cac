//! Folders that are written as a whole: old or new, whatever happens.

use super::*;

fn write(path: &Path, texts: &[(&str, &str)]) -> Result<()> {
    let mut batch = Batch::default();
    let folder = batch.folder(path, 0o700)?;
    texts.iter().try_for_each(|(name, text)| folder.add(name, 0o600, text.as_bytes()))?;
    batch.commit()
}

fn texts(path: &Path) -> Vec<(String, String)> {
    names(path).into_iter().map(|name| (name.clone(), fs::read_to_string(path.join(name)).unwrap())).collect()
}

const OLD: [(&str, &str); 2] = [("meta-data", "old"), ("user-data", "old")];
const NEW: [(&str, &str); 3] = [("meta-data", "new"), ("network-config", "new"), ("user-data", "new")];

fn owned(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_folder_is_the_old_or_the_new_one_whole_whatever_happens() {
    for (had, fault) in
        [(true, fault::Fault::Broken), (false, fault::Fault::Broken), (true, fault::Fault::NoSpace), (true, fault::Fault::Io)]
    {
        let mut met = 0;
        for steps in 0.. {
            let dir = folder();
            let path = dir.path().join("node");
            if had {
                write(&path, &OLD).unwrap();
            }
            fault::after(dir.path(), steps, fault);
            let written = write(&path, &NEW);
            let is_met = fault::clear(dir.path());
            // The state that a killed process leaves.
            let found = path.exists().then(|| texts(&path));
            let old = had.then(|| owned(&OLD));
            assert!(found == old || found == Some(owned(&NEW)), "{fault:?} after {steps}: {found:?}");
            if !is_met {
                written.unwrap();
                break;
            }
            met += 1;
            // A process started by another test inherits all locks for a moment: then the run after the next removes
            // the leftover.
            for _ in 0..6000 {
                write(&path, &NEW).unwrap();
                if names(dir.path()) == ["node"] {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            assert_eq!(texts(&path), owned(&NEW), "{fault:?} after {steps}");
            assert_eq!(names(dir.path()), ["node"], "{fault:?} after {steps}: the next one removes what is left");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
            assert_eq!(fs::metadata(path.join("user-data")).unwrap().permissions().mode() & 0o7777, 0o600);
        }
        assert!(met >= 5, "{fault:?}: {met}");
    }
}

#[test]
fn a_folder_with_files_of_others_is_not_replaced() {
    let dir = folder();
    let path = dir.path().join("node");
    write(&path, &OLD).unwrap();
    fs::write(path.join("vendor-data"), "mine").unwrap();
    let error = write(&path, &NEW).unwrap_err().to_string();
    assert!(error.contains("node/vendor-data would be lost") && error.contains("--out"), "{error}");
    fs::remove_file(path.join("vendor-data")).unwrap();
    // A temporary file of a killed earlier run does not count.
    fs::write(path.join(".user-data.kbake-0"), "key").unwrap();
    write(&path, &NEW).unwrap();
    assert_eq!((texts(&path), names(dir.path())), (owned(&NEW), vec!["node".to_owned()]));
    for put in [|path: &Path| fs::write(path, "mine").unwrap(), |path: &Path| symlink("elsewhere", path).unwrap()] {
        let path = dir.path().join("other");
        put(&path);
        assert!(write(&path, &NEW).unwrap_err().message().contains("other is not a folder"));
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(names(dir.path()), ["node"]);
}
