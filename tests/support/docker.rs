//! The reference implementation of a registry, on loopback.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kbake::value::Sha256;

/// The program that tests/setup.sh unpacks; it must not be installed.
const PROGRAM: &str = "/usr/local/lib/kbake-tests/docker-registry";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A running registry with its port and folder. It ends when it is dropped.
pub struct Registry {
    child: Child,
    pub address: String,
    pub folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// `settings` go into its configuration; `@FOLDER@` in them is its folder.
    pub fn start(settings: &str, fill: impl FnOnce(&Path)) -> Registry {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path());
        let shown = folder.path().display().to_string();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {shown}/data}}}}\nhttp: {{addr: '{address}'}}\n"
        );
        fs::write(folder.path().join("config.yml"), config + &settings.replace("@FOLDER@", &shown)).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(folder.path().join("config.yml")).stdout(Stdio::null()).stderr(log);
        let mut child = match command.spawn() {
            Err(e) if e.kind() == ErrorKind::NotFound => panic!("docker-registry is missing: run tests/setup.sh"),
            child => child.unwrap(),
        };
        for _ in 0..6000 {
            if TcpStream::connect(&address).is_ok() {
                return Registry { child, address, folder };
            }
            assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(folder.path().join("log")).unwrap());
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the registry does not start: {}", fs::read_to_string(folder.path().join("log")).unwrap());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// The link that makes a blob a layer or configuration of a repository's images.
pub const BLOB: &[&str] = &["_layers/sha256/@"];
/// The link that makes a blob a manifest or an index.
pub const DOCUMENT: &[&str] = &["_manifests/revisions/sha256/@"];

/// Writes a blob to a registry's disk, with the `links` that make it a repository's; `@` in them is the digest.
pub fn put(folder: &Path, repository: &str, bytes: &[u8], links: &[&str]) -> Sha256 {
    let root = folder.join("data/docker/registry/v2");
    let write = |path: PathBuf, text: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let digest = Sha256::of(bytes);
    let hex = digest.to_string();
    write(root.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2])), bytes);
    for link in links {
        let link = link.replace('@', &hex);
        write(root.join(format!("repositories/{repository}/{link}/link")), format!("sha256:{hex}").as_bytes());
    }
    digest
}

/// The same for an index with a tag.
pub fn put_tagged(folder: &Path, repository: &str, tag: &str, bytes: &[u8]) -> Sha256 {
    let links = [DOCUMENT[0].to_owned(), format!("_manifests/tags/{tag}/current"), format!("_manifests/tags/{tag}/index/sha256/@")];
    put(folder, repository, bytes, &links.each_ref().map(String::as_str))
}
