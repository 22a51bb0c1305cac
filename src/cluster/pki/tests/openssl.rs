//! OpenSSL's verdict on kbake's certificates.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use super::*;

/// Runs openssl with these words (`%` is the tests' time) in the cluster's folder. Its standard output; none if it fails.
pub(super) fn asked(place: &Place, words: &str) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(words.replace('%', &NOW.to_string()).split_whitespace()).env("LC_ALL", "C").current_dir(place.pki().folder());
    match command.output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => panic!("openssl is missing: run tests/setup.sh"),
        other => other.map(|output| output.status.success().then(|| String::from_utf8(output.stdout).unwrap())).unwrap(),
    }
}

/// Like [`asked`], and fails unless openssl succeeds.
pub(super) fn ssl(place: &Place, words: &str) -> String {
    asked(place, words).unwrap_or_else(|| panic!("openssl {words}"))
}

fn stem(name: &Name) -> String {
    let folder = Folder::new(Path::new(""), "");
    folder.stem(name).display().to_string()
}

#[test]
fn every_certificate_verifies_for_its_use_and_its_names_only() {
    let place = Place::full("kubenet");
    for wanted in place.pki().wanted() {
        let (ca, stem) = (wanted.issuer.name(), stem(&wanted.name));
        let verify = |more: &str| asked(&place, &format!("verify -x509_strict -attime % -CAfile {ca}.crt {more} {stem}.crt")).is_some();
        assert!(verify(""), "{}", wanted.name);
        assert_eq!(verify("-purpose sslserver"), wanted.usage.server(), "{}", wanted.name);
        assert_eq!(verify("-purpose sslclient"), wanted.usage.client(), "{}", wanted.name);
        for dns in &wanted.dns {
            assert!(verify(&format!("-verify_hostname {dns}")), "{} {dns}", wanted.name);
        }
        for address in &wanted.addresses {
            assert!(verify(&format!("-verify_ip {address}")), "{} {address}", wanted.name);
        }
        assert!(!verify("-verify_hostname other.example"), "{}", wanted.name);
        assert!(!verify("-verify_ip 192.0.2.1"), "{}", wanted.name);
        for other in Authority::ALL.into_iter().filter(|other| *other != wanted.issuer) {
            let other = other.name();
            assert!(asked(&place, &format!("verify -attime % -CAfile {other}.crt {stem}.crt")).is_none(), "{} {other}", wanted.name);
        }
        assert!(ssl(&place, &format!("pkey -check -noout -in {stem}.key")).contains("Key is valid"));
    }
}

#[test]
fn extensions_are_as_openssl_reads_them() {
    let place = Place::full("kubenet");
    let text = |name: &str| ssl(&place, &format!("x509 -noout -text -in {name}"));
    let has = |text: &str, parts: &[&str]| {
        let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in parts {
            assert!(flat.contains(part), "{part} in {text}");
        }
    };
    let key_id = |text: &str| {
        let mut lines = text.lines().skip_while(|line| !line.contains("Subject Key Identifier"));
        lines.nth(1).unwrap().trim().to_owned()
    };
    let ca = text("ca.crt");
    let constraints = "X509v3 Basic Constraints: critical CA:TRUE, pathlen:0";
    has(&ca, &[constraints, "X509v3 Key Usage: critical Certificate Sign, CRL Sign", "Subject: CN = kubenet-ca", "NIST CURVE: P-256"]);
    assert!(!ca.contains("Extended Key Usage"));
    let leaf = text("nodes/control0/apiserver.crt");
    has(
        &leaf,
        &[
            "Subject: CN = kube-apiserver",
            "Issuer: CN = kubenet-ca",
            "X509v3 Basic Constraints: critical CA:FALSE",
            "X509v3 Key Usage: critical Digital Signature X509v3",
            "X509v3 Extended Key Usage: TLS Web Server Authentication X509v3",
            "IP Address:10.32.0.1",
            "IP Address:127.0.0.1",
            "DNS:kubernetes.default.svc.cluster.local",
            "Not Before: Jan 15 07:00:00 2027 GMT",
            "Not After : Jan 14 08:00:00 2030 GMT",
            &format!("X509v3 Authority Key Identifier: {}", key_id(&ca)),
        ],
    );
    assert_ne!(key_id(&leaf), key_id(&ca));
    has(&text("admin.crt"), &["Subject: O = kbake:cluster-admins, CN = kubernetes-admin"]);
    has(&text("super-admin.crt"), &["Subject: O = system:masters, CN = kubernetes-super-admin"]);
    has(&text("nodes/control0/apiserver.crt"), &["DNS:localhost", "IP Address:0:0:0:0:0:0:0:1"]);
    has(&text("nodes/control0/etcd-server.crt"), &["TLS Web Server Authentication, TLS Web Client Authentication"]);
}

#[test]
fn the_longest_names_are_no_trouble() {
    // 12 + 52 bytes: as many as X.520 allows a CN.
    let (node, domain) = ("n".repeat(52), ["d".repeat(60), "e".repeat(60), "f".repeat(60)].join("."));
    let text = format!(
        "name = \"long\"\ndomain = \"{domain}\"\n[network]\ncidr = \"192.168.3.0/24\"\n[[node]]\nrole = \"control-plane\"\nname = \"{node}\"\n"
    );
    let place = Place { dir: tempfile::tempdir().unwrap(), cluster: Cluster::read("long.toml", &text).unwrap() };
    place.pki().init(NOW).unwrap();
    place.pki().load(NOW).unwrap();
    let kubelet = format!("nodes/{node}/kubelet.crt");
    ssl(&place, &format!("verify -x509_strict -attime % -CAfile ca.crt -purpose sslserver -verify_hostname {node}.{domain} {kubelet}"));
    assert!(ssl(&place, &format!("x509 -noout -subject -in {kubelet}")).contains(&format!("CN = system:node:{node}")));
}

#[test]
fn the_service_accounts_key_pair_is_one() {
    let place = Place::full("one-node");
    assert_eq!(ssl(&place, "pkey -pubout -in sa.key"), place.read("sa.pub"));
    // ES256 is ECDSA on P-256 with SHA-256.
    place.put("message", "token");
    ssl(&place, "dgst -sha256 -sign sa.key -out signature message");
    ssl(&place, "dgst -sha256 -verify sa.pub -signature signature message");
}

/// A process that is killed with the test in every case.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(args: &[&str]) -> Reaped {
    let mut command = Command::new("openssl");
    command.args(args).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    match command.spawn() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => panic!("openssl is missing: run tests/setup.sh"),
        child => Reaped(child.unwrap()),
    }
}

/// The path of a certificate and its key, without extension, and the authority that the other side's must be from.
#[derive(Clone, Copy)]
struct Side<'a> {
    pair: &'a str,
    trusts: Authority,
}

/// True if a word gets from the client to the server and back, both with certificates. The client checks for `name`, a host
/// name or an address, in the server's.
fn talk(place: &Place, server: Side<'_>, client: Option<Side<'_>>, trusts: Authority, name: &str) -> bool {
    let file = |name: &str| place.at(name).display().to_string();
    let pair = |side: Side<'_>| (file(&format!("{}.crt", side.pair)), file(&format!("{}.key", side.pair)));
    let time = NOW.to_string();
    let ((crt, key), ca) = (pair(server), file(&format!("{}.crt", server.trusts.name())));
    let args =
        ["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-rev", "-cert", &crt, "-key", &key, "-CAfile", &ca, "-attime", &time];
    let mut listening = openssl(&[&args[..], &["-Verify", "1", "-verify_return_error"]].concat());
    let mut lines = BufReader::new(listening.0.stdout.take().unwrap()).lines();
    let port = loop {
        let line = lines.next().expect("s_server says where it listens").unwrap();
        if let Some(address) = line.strip_prefix("ACCEPT ") {
            break address.to_owned();
        }
    };
    let ca = file(&format!("{}.crt", trusts.name()));
    let check = if name.parse::<std::net::IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    let mut args = vec!["s_client", "-connect", &port, "-quiet", "-CAfile", &ca, "-attime", &time, "-verify_return_error", check, name];
    let (crt, key) = client.map(pair).unwrap_or_default();
    if client.is_some() {
        args.extend(["-cert", &crt, "-key", &key]);
    }
    let mut calling = openssl(&args);
    let sent = calling.0.stdin.as_mut().unwrap().write_all(b"kbake\n");
    let mut answer = String::new();
    let read = BufReader::new(calling.0.stdout.take().unwrap()).read_line(&mut answer);
    sent.is_ok() && read.is_ok() && answer == "ekabk\n"
}

#[test]
fn servers_and_clients_talk_and_strangers_are_refused() {
    let place = Place::full("kubenet");
    use Authority::{Cluster, Etcd, FrontProxy};
    let side = |pair, trusts| Side { pair, trusts };
    let api = side("nodes/control0/apiserver", Cluster);
    let kubelet = side("nodes/worker0/kubelet", Cluster);
    let (etcd, peer) = (side("nodes/control0/etcd-server", Etcd), side("nodes/control0/etcd-peer", Etcd));
    let other_peer = side("nodes/control1/etcd-peer", Etcd);
    let client = |pair| Some(side(pair, Cluster));
    let good = [
        (api, client("admin"), "192.168.3.21"),
        (api, client("nodes/worker0/kubelet"), "10.32.0.1"),
        (api, client("nodes/worker0/kube-proxy"), "kubernetes"),
        (api, client("nodes/control0/controller-manager"), "127.0.0.1"),
        (api, client("nodes/control0/scheduler"), "127.0.0.1"),
        (kubelet, client("nodes/control0/apiserver-kubelet-client"), "worker0"),
        (etcd, client("nodes/control0/apiserver-etcd-client"), "127.0.0.1"),
        (etcd, client("etcd-admin"), "control0"),
        (etcd, Some(etcd), "localhost"),
        (peer, Some(other_peer), "192.168.3.11"),
        (side("nodes/control0/apiserver", FrontProxy), client("nodes/control0/front-proxy-client"), "kubernetes.default"),
    ];
    for (server, client, name) in good {
        let issuer = if server.trusts == Etcd { Etcd } else { Cluster };
        assert!(talk(&place, server, client, issuer, name), "{} {} {name}", server.pair, client.unwrap().pair);
    }
    let bad = [
        (api, None, Cluster, "kubernetes", "no client certificate"),
        (etcd, client("admin"), Etcd, "control0", "a client of the other authority"),
        (etcd, client("nodes/worker0/kubelet"), Etcd, "control0", "a kubelet has no business in etcd"),
        (api, client("etcd-admin"), Cluster, "kubernetes", "a client of etcd"),
        (api, client("nodes/control0/front-proxy-client"), Cluster, "kubernetes", "the proxy as a user"),
        (api, client("nodes/control0/apiserver"), Cluster, "kubernetes", "a server as a client"),
        (api, client("admin"), Etcd, "kubernetes", "a server of the other authority"),
        (api, client("admin"), Cluster, "worker0", "a server of another name"),
        (api, client("admin"), Cluster, "192.168.3.12", "a server of another address"),
        (side("admin", Cluster), client("admin"), Cluster, "kubernetes", "a client as a server"),
    ];
    for (server, client, trusts, name, what) in bad {
        assert!(!talk(&place, server, client, trusts, name), "{what}");
    }
}
