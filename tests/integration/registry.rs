//! Images from the reference implementation of a registry: open, with a password, with signed tokens, and as a mirror of another.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kbake::Class;
use kbake::fetch::{self, Login, Options, RegistryKind, Source, Want};
use kbake::store::{Access, Store};
use kbake::value::{Cancel, Reference, Sha256};
use serde_json::{Value, json};

use crate::support::docker::{self, BLOB, DOCUMENT, INDEX, MANIFEST, Registry};

const REPOSITORY: &str = "k8s/pause";
/// `hidden`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "me:$2b$04$qY4N9VtqrOQYKpBjBlHilu/ax.6369yUSMXX17vS1LIQMYe1UIYvO\n";

/// The image's name there.
fn reference(registry: &Registry) -> Reference {
    format!("{}/{REPOSITORY}:3.10", registry.address).parse().unwrap()
}

/// Writes an image with two layers, in an index, as the registry keeps it on its disk. Returns all digests.
fn image(folder: &Path) -> Vec<Sha256> {
    let mut all = Vec::new();
    let mut told = |digest: Sha256, bytes: &[u8]| {
        all.push(digest);
        json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let mut put = |bytes: &[u8], links: &[&str]| told(docker::put(folder, REPOSITORY, bytes, links), bytes);
    let with = |mut descriptor: Value, kind: &str| {
        descriptor["mediaType"] = kind.into();
        descriptor
    };
    let layer = |n: u32| (0..2_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761 + n) >> 13) as u8).collect::<Vec<_>>();
    let config = with(put(br#"{"architecture":"amd64","os":"linux"}"#, BLOB), "application/vnd.oci.image.config.v1+json");
    let layers: Vec<Value> = (0..2).map(|n| with(put(&layer(n), BLOB), "application/vnd.oci.image.layer.v1.tar+gzip")).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).to_string();
    let manifest = with(put(manifest.as_bytes(), DOCUMENT), MANIFEST);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]}).to_string();
    let index = docker::put_tagged(folder, REPOSITORY, "3.10", index.as_bytes());
    all.push(index);
    all
}

struct Case {
    _dir: tempfile::TempDir,
    store: Store,
    options: Options,
}

fn case() -> Case {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), Access::Shared, &Cancel::new(), &|| {}).unwrap();
    let options = Options { retries: 1, backoff: Duration::from_millis(10), ..Options::default() };
    Case { _dir: dir, store, options }
}

impl Case {
    fn login(self, registry: &Registry, password: &str) -> Case {
        self.login_for(registry, password, None)
    }

    fn login_for(mut self, registry: &Registry, password: &str, token_host: Option<String>) -> Case {
        let token_hosts: BTreeSet<String> = token_host.into_iter().collect();
        let login = Login { user: "me".to_owned(), password: password.into(), token_hosts };
        self.options.logins.insert(registry.address.clone(), Arc::new(login));
        self
    }

    fn bring(&self, reference: &Reference, kind: RegistryKind, digests: &[Sha256]) -> kbake::Result<()> {
        let source = Source::Registry { reference: reference.clone(), kind };
        let want = |digest: &Sha256| Want { name: digest.to_string(), source: source.clone(), digest: (*digest).into(), size: None };
        fetch::fetch(&self.store, &digests.iter().map(want).collect::<Vec<_>>(), &self.options, &(), &Cancel::new())
    }

    fn json(&self, digest: &Sha256) -> Value {
        serde_json::from_reader(self.store.reader(digest).unwrap().unwrap()).unwrap()
    }

    /// Fetches the whole image from its tag on, as a build does.
    fn pull(&self, reference: &Reference) -> kbake::Result<Vec<Sha256>> {
        let digest = |descriptor: &Value| -> Sha256 { descriptor["digest"].as_str().unwrap()["sha256:".len()..].parse().unwrap() };
        let (index, bytes) = fetch::tag_digest(reference, &self.options, &Cancel::new())?;
        let parsed: Value = serde_json::from_slice(&bytes).unwrap();
        let manifest = digest(&parsed["manifests"][0]);
        self.bring(reference, RegistryKind::Manifest, &[index, manifest])?;
        assert_eq!(self.json(&index), parsed);
        let parsed = self.json(&manifest);
        let mut blobs = vec![digest(&parsed["config"])];
        blobs.extend(parsed["layers"].as_array().unwrap().iter().map(digest));
        self.bring(reference, RegistryKind::Blob, &blobs)?;
        blobs.extend([manifest, index]);
        for digest in &blobs {
            std::io::copy(&mut self.store.reader(digest).unwrap().unwrap(), &mut std::io::sink()).unwrap();
        }
        Ok(blobs)
    }
}

#[test]
fn an_image_comes_from_an_open_registry_and_through_its_mirror() {
    let mut all = Vec::new();
    let registry = Registry::start("", |folder| all = image(folder));
    assert_eq!(case().pull(&reference(&registry)).unwrap(), all);
    let mirror = Registry::start(&format!("proxy: {{remoteurl: 'http://{}'}}\n", registry.address), |_| ());
    let mut through = case();
    through.options.registry_mirrors = vec![("registry.test".to_owned(), format!("http://{}", mirror.address))];
    let named = format!("registry.test/{REPOSITORY}:3.10").parse().unwrap();
    assert_eq!(through.pull(&named).unwrap(), all, "{}", mirror.log());
    let error = case().pull(&reference(&registry).to_string().replace("3.10", "3.99").parse().unwrap()).unwrap_err();
    assert_eq!(error.class(), Class::User, "{error}");
    let error = case().bring(&reference(&registry), RegistryKind::Blob, &[Sha256::of(b"other")]).unwrap_err();
    assert!(error.to_string().contains("answered 404 Not Found"), "{error}");
}

#[test]
fn a_broken_off_layer_goes_on_at_a_real_registry() {
    let mut all = Vec::new();
    let registry = Registry::start("", |folder| all = image(folder));
    let (case, layer) = (case(), all[1]);
    let hex = layer.to_string();
    let bytes = fs::read(registry.folder.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))).unwrap();
    match case.store.partial(&layer.into(), None).unwrap() {
        kbake::store::Claim::Ours(mut partial) => partial.put(&bytes[..1_500_000]).unwrap(),
        other => panic!("{other:?}"),
    }
    struct Began(std::sync::Mutex<Vec<u64>>);
    impl fetch::Events for Began {
        fn progress(&self, _: &Want, at: u64) {
            self.0.lock().unwrap().push(at);
        }
    }
    let (began, reference) = (Began(Default::default()), reference(&registry));
    let source = Source::Registry { reference, kind: RegistryKind::Blob };
    let want = Want { name: "layer".to_owned(), source, digest: layer.into(), size: None };
    fetch::fetch(&case.store, &[want], &case.options, &began, &Cancel::new()).unwrap();
    assert!(began.0.lock().unwrap().iter().all(|at| *at > 1_500_000), "only the rest came");
}

#[test]
fn an_image_comes_with_a_password_and_not_without() {
    let mut all = Vec::new();
    let registry = Registry::start("auth: {htpasswd: {realm: here, path: '@FOLDER@/users'}}\n", |folder| {
        all = image(folder);
        fs::write(folder.join("users"), HTPASSWD).unwrap();
    });
    assert_eq!(case().login(&registry, "hidden").pull(&reference(&registry)).unwrap(), all);
    let error = case().pull(&reference(&registry)).unwrap_err().to_string();
    assert!(error.contains("requires a login, and none is configured for it"), "{error}");
    let error = case().login(&registry, "guessed").pull(&reference(&registry)).unwrap_err().to_string();
    assert!(error.contains("rejects the configured login") && !error.contains("guessed"), "{error}");
}

#[test]
fn an_image_comes_with_tokens_that_a_server_signs() {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |args: &str| {
        let done = Command::new("openssl")
            .args(args.split(' '))
            .current_dir(folder.path())
            .output()
            .expect("openssl is missing: run tests/setup.sh");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=tokens -days 2");
    let pem = fs::read_to_string(folder.path().join("cert.pem")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let certificate = folder.path().join("cert.pem").display().to_string();
    let settings =
        format!("auth: {{token: {{realm: '{realm}', service: 'a registry', issuer: tokens, rootcertbundle: '{certificate}'}}}}\n");
    let mut all = Vec::new();
    let registry = Registry::start(&settings, |folder| all = image(folder));
    let signed = |claims: &Value| {
        let chain: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let body = format!("{}.{}", text(&json!({"typ": "JWT", "alg": "RS256", "x5c": [chain]})), text(claims));
        fs::write(folder.path().join("body"), &body).unwrap();
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(openssl("dgst -sha256 -sign key.pem body")))
    };
    std::thread::scope(|scope| {
        scope.spawn(|| give_tokens(&listener, &signed));
        let token_host = || Some(listener.local_addr().unwrap().to_string());
        let error = case().login(&registry, "hidden").pull(&reference(&registry)).unwrap_err().to_string();
        assert!(error.contains("no password was sent") && !error.contains("hidden"), "{error}");
        let named = case().login_for(&registry, "hidden", token_host());
        assert_eq!(named.pull(&reference(&registry)).unwrap(), all, "{}", registry.log());
        let error = case().login_for(&registry, "guessed", token_host()).pull(&reference(&registry)).unwrap_err().to_string();
        assert!(error.contains("answered 401 Unauthorized to the configured login") && !error.contains("guessed"), "{error}");
        // Ends the token server.
        drop(TcpStream::connect(listener.local_addr().unwrap()));
    });
}

/// Gives a client with the password the token that it asks for, until a connection sends nothing.
fn give_tokens(listener: &TcpListener, signed: &dyn Fn(&Value) -> String) {
    let login = format!("Basic {}", STANDARD.encode("me:hidden"));
    for mut stream in listener.incoming().flatten() {
        let lines: Vec<String> = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(first) = lines.first() else { return };
        let shown = lines.iter().filter_map(|line| line.split_once(": ")).find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let knows = shown.is_some_and(|(_, value)| value == login);
        let (status, body) = match scope_of(first) {
            Some((service, repository)) if knows => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
                let access = json!([{"type": "repository", "name": repository, "actions": ["pull"]}]);
                let claims = json!({"iss": "tokens", "sub": "me", "aud": service, "jti": "1", "access": access,
                    "iat": now - 5, "nbf": now - 5, "exp": now + 300});
                ("200 OK", json!({"token": signed(&claims)}).to_string())
            }
            _ => ("401 Unauthorized", "{}".to_owned()),
        };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // A client that disconnected needs no token.
        let _ = stream.write_all((head + &body).as_bytes());
    }
}

/// The service and the repository of a request for a token.
fn scope_of(line: &str) -> Option<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://tokens.test{}", line.split(' ').nth(1)?)).ok()?;
    let find = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let scope = find("scope")?;
    Some((find("service")?, scope.strip_prefix("repository:")?.strip_suffix(":pull")?.to_owned()))
}
