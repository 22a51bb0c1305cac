//! Public secrets: examples in manuals, and keys with which libraries test themselves. Each is listed by the SHA-256 of its first
//! characters or by its value, so that no other secret matches.

use crate::common::value::Sha256;

/// The number of characters of a key's text that its digest covers.
pub(super) const KEY_CHARS: usize = 256;

/// Private keys with which programs test themselves, by the digest of their text without white space, or of the first bytes of
/// their DER, which hold enough of the public modulus to be unique.
const KEYS: &[(&str, &[&str])] = &[
    (
        "GnuTLS (lib/crypto-selftests-pk.c), in libgnutls",
        &[
            "bf552d2ff30b20f0b0ee2bcc357a5ab68dbe899ae09a0071b097bee2d2434332",
            "cadf1e62661d5d21a7fce2c80b3319022ee366137e4b302a7ea78b7f17d6f599",
            "6d03bbf47115fad00d6f990593a6465ca693d0f6d797721cfc94b0190349b50d",
            "b8cdb86def09b608e30c835a73554b5b6235418372bb84f139ca2ba7e9cf73da",
            "518a21fe5a8a54f8f31d8913c3aa5be433ba94871630b3f85009c146bd3b844e",
            "c780c483da21d36753a9662fc03234d3fda795fe0bad451fbfa01dab43321ac5",
            "0abce0c5fd3b863ee4d881dcc5382b334393868cef4c32e687d87ce334d456b8",
            "24a2416c5abbb67327599619c25906553b849d79cbc413e2a061f12de6718838",
            "fcaaafcd4be236f46a44ac7fc8223548313a878ed39ca0661e9c6b48e213e348",
            "ec0fcc15374d1457f0ef76b5e6c2452814cda7f2cc5e5982adca949a8c254d01",
        ],
    ),
    (
        "OpenSSL (apps/testrsa.h), in `openssl speed`",
        &[
            "c86053df9a14b31e331d4bd1bca94c32458fcf8b3aae7540a1707dede169dcf0",
            "ab92010b4b9b3ab732296c05c5bf1d2e91adf7d5f9cc49431352f24ea386be0e",
            "580213ef45917dc505dc9f6ae76ff5c623f7521fb6d640f380c44dabc03625b7",
            "2939cfc98c3eda3602d7c34230f0cca26c64c6681142eac6a2a46cde6dfab6e1",
            "ab133525738022b75f3c29ced44517da7eb2d70593810164fdb8ce97dc3a26ca",
            "18358a36b6a82ef6cbf2c65739e534cdfd710ed003d27af0544f20c4705ce3f4",
        ],
    ),
    ("Linux (crypto/testmgr.h), in the kernel", &["1bc99b9783a5743d8b94573df877a9074c55e3d95fef970561fc16d125cb7930"]),
];

/// Tokens, logins and values of examples in manuals.
const EXAMPLES: &[&[u8]] = &[
    // kubeadm's and Kubernetes' manuals.
    b"abcdef.0123456789abcdef",
    b"abcdef.1234567890abcdef",
    b"aaaaaa.bbbbbbbbbbbbbbbb",
    b"07401b.f395accd246ae52d",
    b"783bde.3f89s0fje9f38fhf",
    b"5didvk.d09sbcov8ph2amjw",
    b"c2VjcmV0IGlzIHNlY3VyZQ==",
    b"dGhpcyBpcyBwYXNzd29yZA==",
    // PyJWT's manual, and the page that everyone tries tokens on.
    b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzb21lIjoicGF5bG9hZCJ9.4twFt5NiznN84AWoo1d7KO1T_yoc0Z6XOpOVswacPZg",
    b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    // Amazon's manuals.
    b"AKIAIOSFODNN7EXAMPLE",
    b"AKIAI44QH8DHBEXAMPLE",
    b"ASIAIOSFODNN7EXAMPLE",
    b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
];

/// True for the text of a public key pair.
pub(super) fn is_known_key(text: &[u8]) -> bool {
    let digest = Sha256::of(&text[..text.len().min(KEY_CHARS)]).to_string();
    KEYS.iter().any(|(_, digests)| digests.contains(&digest.as_str()))
}

/// True for a value of an example in a manual.
pub(super) fn is_example(value: &[u8]) -> bool {
    EXAMPLES.contains(&value)
}
