//! Keys of all sizes from OpenSSL, and thousands of made-up keys with numbers of every possible length.

use std::ffi::OsStr;
use std::fs;

use super::super::scan::Scanner;
use crate::formats::disk::testing;

/// The findings for bytes between two pieces of noise.
fn found(key: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut scanner = Scanner::new(0);
    let mut note = |hit: super::super::scan::Hit| names.push(hit.secret.what);
    scanner.push(&[0xff; 40], &mut note);
    scanner.push(key, &mut note);
    scanner.push(&[0xff; 40], &mut note);
    scanner.finish(&mut note);
    names
}

fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let header = match len {
        0..=0x7f => vec![tag, len as u8],
        0x80..=0xff => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [header, content.to_vec()].concat()
}

/// An odd integer of this many bytes whose first byte is `first`, which is not zero.
fn number(seed: u64, len: usize, first: u8) -> Vec<u8> {
    let mut bytes = testing::noise(seed, len);
    bytes[0] = first;
    bytes[len - 1] |= 1;
    if first >= 0x80 {
        bytes.insert(0, 0);
    }
    encoded(super::INTEGER, &bytes)
}

#[test]
fn numbers_of_any_length_make_a_key() {
    let exponents = [vec![3], vec![17], vec![1, 0, 1], vec![1, 0, 0, 0, 1], testing::noise(9, 31).into_iter().chain([1]).collect()];
    for seed in 1..4000_u64 {
        let random = testing::noise(seed ^ 0xabcd, 8);
        let half = [64, 65, 96, 128, 192, 256, 512, 1024][usize::from(random[0] % 8)];
        let n = half * 2;
        let short = |byte: u8| usize::from(byte % 32 / 15);
        let mut exponent = exponents[usize::from(random[1]) % exponents.len()].clone();
        if exponent[0] >= 0x80 {
            exponent.insert(0, 0);
        }
        let first = |byte: u8| byte.max(1);
        let key = encoded(
            super::SEQUENCE,
            &[
                encoded(super::INTEGER, &[0]),
                number(seed, n, first(random[2])),
                encoded(super::INTEGER, &exponent),
                number(seed + 1, n - short(random[3]), first(random[4])),
                number(seed + 2, half, first(random[5])),
                number(seed + 3, half, first(random[6])),
                number(seed + 4, half - short(random[7]), first(random[2])),
                number(seed + 5, half - short(random[3]), first(random[4])),
                number(seed + 6, half - short(random[5]), first(random[6])),
            ]
            .concat(),
        );
        assert_eq!(found(&key), ["RSA in DER"], "{seed}: {n} bytes");
        // A byte too many at any place breaks the key.
        let mut other = key.clone();
        other[3] = other[3].wrapping_add(1);
        assert_eq!(found(&other), [] as [&str; 0], "{seed}");
    }
}

#[test]
fn curves_with_and_without_what_may_be_left_out() {
    let curve = encoded(0xa0, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let public = encoded(0xa1, &encoded(3, &[&[0, 4][..], &testing::noise(8, 64)].concat()));
    for len in 18..=72 {
        for rest in [vec![], curve.clone(), public.clone(), [curve.clone(), public.clone()].concat()] {
            let number = encoded(super::OCTETS, &testing::noise(len as u64, len));
            let key = encoded(super::SEQUENCE, &[&[2, 1, 1][..], &number, &rest].concat());
            assert_eq!(found(&key), ["EC in DER"], "{len}");
            let zeros = encoded(super::OCTETS, &vec![7; len]);
            assert_eq!(found(&encoded(super::SEQUENCE, &[&[2, 1, 1][..], &zeros, &rest].concat())), [] as [&str; 0]);
        }
    }
}

#[test]
fn openssls_keys_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("key").to_str().unwrap().to_owned();
    let run = |args: &[&str]| testing::run("openssl", &args.iter().map(|arg| arg as &dyn AsRef<OsStr>).collect::<Vec<_>>());
    let check = |what: &str, args: &[&str]| {
        run(&[args, &["-outform", "DER", "-out", &out]].concat());
        let key = fs::read(&out).unwrap();
        assert_eq!(found(&key), [format!("{what} in DER")], "{args:?}: {key:02x?}");
    };
    for bits in ["1024", "1536", "2048", "3072"] {
        for exponent in ["3", "65537", "4294967297"] {
            let (bits, exponent) = (format!("rsa_keygen_bits:{bits}"), format!("rsa_keygen_pubexp:{exponent}"));
            check("RSA", &["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits, "-pkeyopt", &exponent]);
        }
    }
    check("RSA", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-pkeyopt", "rsa_keygen_primes:3"]);
    for name in ["ED25519", "ED448", "X25519", "X448"] {
        let shown = format!("{}{}", &name[..1], name[1..].to_lowercase());
        check(&shown, &["genpkey", "-algorithm", name]);
    }
    for curve in
        ["prime192v1", "secp224r1", "prime256v1", "secp256k1", "brainpoolP320r1", "secp384r1", "brainpoolP512r1", "secp521r1", "sect571r1"]
    {
        for encoding in ["named_curve", "explicit"] {
            let (curve, encoding) = (format!("ec_paramgen_curve:{curve}"), format!("ec_param_enc:{encoding}"));
            check("EC", &["genpkey", "-algorithm", "EC", "-pkeyopt", &curve, "-pkeyopt", &encoding]);
        }
    }
    let parameters = dir.path().join("dsa").to_str().unwrap().to_owned();
    run(&["genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024", "-out", &parameters]);
    check("DSA", &["genpkey", "-paramfile", &parameters]);
    let pkcs8 = out.clone();
    let traditional = dir.path().join("traditional").to_str().unwrap().to_owned();
    run(&["dsa", "-inform", "DER", "-in", &pkcs8, "-outform", "DER", "-out", &traditional]);
    assert_eq!(found(&fs::read(&traditional).unwrap()), ["DSA in DER"]);
}

/// Public keys have the same numbers, and are no secrets.
#[test]
fn public_keys_and_certificates_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let run = |args: &[&str]| testing::run("openssl", &args.iter().map(|arg| arg as &dyn AsRef<OsStr>).collect::<Vec<_>>());
    for (name, option) in [("RSA", "rsa_keygen_bits:1024"), ("EC", "ec_paramgen_curve:prime256v1")] {
        run(&["genpkey", "-algorithm", name, "-pkeyopt", option, "-out", &at("key")]);
        run(&["pkey", "-in", &at("key"), "-pubout", "-outform", "DER", "-out", &at("public")]);
        run(&["req", "-new", "-x509", "-key", &at("key"), "-subj", "/CN=a", "-outform", "DER", "-out", &at("certificate")]);
        for file in ["public", "certificate"] {
            assert_eq!(found(&fs::read(at(file)).unwrap()), [] as [&str; 0], "{name}, {file}");
        }
    }
}
