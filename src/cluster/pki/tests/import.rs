//! Import of authorities made by OpenSSL.

use super::openssl::{asked, ssl};
use super::*;

/// The host's clock: OpenSSL 3.0 dates signatures by it.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap() + 60
}

/// An empty place with a folder to work in.
fn bench() -> Place {
    let place = Place::empty("two-node");
    for folder in [place.secrets(), place.pki().folder().to_owned()] {
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
    place
}

const AUTHORITY: &str = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign";

/// Signs `my.key` itself as an authority.
fn self_sign(place: &Place, more: &str) {
    ssl(place, &format!("req -x509 -new -key my.key -out my.crt -days 3650 -config /dev/null {more}"));
}

fn import(place: &Place) -> crate::Result<Imported> {
    place.pki().import(Authority::Cluster, &place.read("my.crt"), &place.read("my.key").as_str().into(), now())
}

#[test]
fn authorities_of_all_usual_forms_are_taken_and_sign() {
    let cases = [
        ("ecparam -name prime256v1 -genkey -out my.key", "-subj /CN=kubernetes", "EC PARAMETERS"),
        ("ecparam -name secp384r1 -genkey -noout -out my.key", "-subj /CN=kubernetes", "BEGIN EC PRIVATE KEY"),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out my.key", "-sha384 -subj /CN=kubernetes", "BEGIN PRIVATE KEY"),
        (
            "genrsa -traditional -out my.key 2048",
            "-subj /C=US/ST=Oregon/L=Portland/O=Kubernetes/OU=CA/CN=Kubernetes",
            "BEGIN RSA PRIVATE KEY",
        ),
        ("genrsa -out my.key 3072", "-sha512 -utf8 -subj /O=Bäckerei/CN=kubernetes", "BEGIN PRIVATE KEY"),
    ];
    for (make, how, form) in cases {
        let place = bench();
        ssl(&place, make);
        assert!(place.read("my.key").contains(form), "{make}");
        self_sign(&place, &format!("{how} {AUTHORITY}"));
        assert_eq!(import(&place).unwrap(), Imported::Taken, "{make}");
        let before = place.snapshot();
        assert_eq!(import(&place).unwrap(), Imported::WasThere, "{make}");
        assert_eq!(place.snapshot(), before, "{make}");
        assert_eq!(place.pki().init(now()).unwrap().problems, [], "{make}");
        place.pki().load(now()).unwrap();
        ssl(&place, "pkey -check -noout -in ca.key");
        let node = &place.cluster.nodes[0].name;
        for name in ["admin".to_owned(), format!("nodes/{node}/apiserver")] {
            ssl(&place, &format!("verify -x509_strict -CAfile ca.crt {name}.crt"));
            assert!(asked(&place, &format!("verify -CAfile etcd-ca.crt {name}.crt")).is_none());
        }
        // One half is lost, and restored.
        fs::remove_file(place.at("ca.key")).unwrap();
        assert_eq!(import(&place).unwrap(), Imported::KeyBroughtBack, "{make}");
        place.pki().renew(&[], now()).unwrap();
    }
}

#[test]
fn what_cannot_be_an_authority_is_refused_with_the_reason() {
    let p256 = "ecparam -name prime256v1 -genkey -noout -out my.key";
    let plain = format!("-subj /CN=x {AUTHORITY}");
    let cases = [
        ("genpkey -algorithm ED25519 -out my.key", plain.as_str(), "is an Ed25519 key"),
        ("ecparam -name secp521r1 -genkey -noout -out my.key", &plain, "is damaged, or of a kind that kbake does not take"),
        ("genrsa -out my.key 1024", &plain, "of a kind that kbake does not take"),
        ("genrsa -aes128 -passout pass:x -out my.key 2048", "", "is encrypted"),
        ("genrsa -traditional -aes128 -passout pass:x -out my.key 2048", "", "is encrypted"),
        (p256, "-subj /CN=x", "is not an authority: its certificate may not sign others"),
        (p256, "-subj /CN=x -addext basicConstraints=critical,CA:TRUE -addext keyUsage=digitalSignature", "its key usage does not allow"),
        (p256, &format!("{plain} -addext nameConstraints=permitted;DNS:corp.example"), "may sign for some names only (name constraints)"),
        (p256, &format!("{plain} -addext extendedKeyUsage=serverAuth"), "may not sign for both servers and clients"),
        (p256, &format!("{plain} -addext 1.2.3.4=critical,ASN1:NULL"), "has a critical extension"),
        (p256, &format!("-sha1 {plain}"), "in a way that is not safe (SHA-1"),
        ("genrsa -out my.key 2048", &format!("-sha1 {plain}"), "in a way that is not safe (SHA-1"),
        (p256, &format!("-subj /CN=a+O=b -multivalue-rdn {AUTHORITY}"), "has a subject that kbake cannot reproduce"),
        (p256, &format!("-subj /OU=a/OU=b/CN=x {AUTHORITY}"), "certificates that this authority signs are not valid"),
    ];
    for (make, how, why) in cases {
        let place = bench();
        ssl(&place, make);
        if how.is_empty() {
            place.put("my.crt", &Place::full("one-node").read("ca.crt"));
        } else {
            self_sign(&place, how);
        }
        let error = import(&place).unwrap_err().to_string();
        assert!(error.contains(why), "{make} {how}: {error}");
        assert!(!place.at("ca.crt").exists() && !place.at("ca.key").exists());
    }
}

#[test]
fn only_a_valid_root_with_its_own_key_is_imported() {
    let place = bench();
    ssl(&place, "ecparam -name prime256v1 -genkey -noout -out my.key");
    self_sign(&place, &format!("-subj /CN=root {AUTHORITY}"));
    let (crt, key) = (place.read("my.crt"), place.read("my.key"));
    let import =
        |crt: &str, key: &str, now: i64| place.pki().import(Authority::Etcd, crt, &key.into(), now).map_err(|error| error.to_string());
    ssl(&place, "ecparam -name prime256v1 -genkey -noout -out other.key");
    assert!(import(&crt, &place.read("other.key"), now()).unwrap_err().contains("has a key that does not belong to its certificate"));
    assert!(import(&crt, &key, now() + 20 * 365 * DAY).unwrap_err().contains("has expired on"));
    assert!(import(&key, &crt, now()).unwrap_err().contains("the key for `etcd-ca` is not one private key in PEM"));
    assert!(import(&key, &key, now()).unwrap_err().contains("is a private key, where a certificate should be"));
    assert!(import(&format!("{crt}{crt}"), &key, now()).unwrap_err().contains("is not one certificate in PEM"));
    ssl(
        &place,
        &format!("req -x509 -new -key other.key -CA my.crt -CAkey my.key -out inter.crt -config /dev/null -subj /CN=inter {AUTHORITY}"),
    );
    let error = import(&place.read("inter.crt"), &place.read("other.key"), now()).unwrap_err();
    assert!(error.contains("is an intermediate authority, issued by CN=root"), "{error}");

    place.pki().init(now()).unwrap();
    let before = place.snapshot();
    let error = import(&crt, &key, now()).unwrap_err();
    assert!(error.contains("the cluster has another `etcd-ca` already"), "{error}");
    assert_eq!(place.snapshot(), before);
    // A crash between key and certificate: the existing key must not be replaced.
    fs::remove_file(place.at("etcd-ca.crt")).unwrap();
    assert!(import(&crt, &key, now()).unwrap_err().contains("another `etcd-ca`"));
    fs::remove_file(place.at("etcd-ca.key")).unwrap();
    assert_eq!(import(&crt, &key, now()).unwrap(), Imported::Taken);
}
