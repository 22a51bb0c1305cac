use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// Clusters with a certificate each, in kubectl's form: together longer than a test reads ahead.
fn clusters() -> String {
    let cert = STANDARD.encode(testing::noise(3, 1500));
    let cluster = |n| format!("- cluster:\n    certificate-authority-data: {cert}\n    server: https://c{n}:6443\n  name: c{n}\n");
    format!("apiVersion: v1\nclusters:\n{}{}{}contexts: []\ncurrent-context: c0\n", cluster(0), cluster(1), cluster(2))
}

/// A key's PEM in base64, in lines so short that none has enough of the key.
fn folded_key() -> String {
    let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n", "MHcCAQEEIBqq".repeat(12));
    let text = STANDARD.encode(pem);
    text.as_bytes().chunks(64).map(|line| format!("      {}\n", String::from_utf8_lossy(line))).collect()
}

/// The findings for each of these texts as a file.
fn found(texts: &[String]) -> Vec<Vec<String>> {
    let (_dir, root, image) = temp();
    for (index, text) in texts.iter().enumerate() {
        put(&root, &format!("opt/{index}"), text);
    }
    ext(&root, &image, &["-t", "ext4"]);
    let audited = look(&image);
    assert!(audited.findings.iter().all(|f| f.path.is_some()), "{:#?}", lines(&audited));
    let of = |path: String| audited.findings.iter().filter(|f| f.path.as_ref() == Some(&path)).map(ToString::to_string).collect();
    (0..texts.len()).map(|index| of(format!("/opt/{index}"))).collect()
}

#[test]
fn a_kubeconfig_is_found_however_it_is_written() {
    let users = "users:\n- name: a\n  user:\n    token: Secret77\n";
    let long = "0123456789abcdefghij".repeat(40);
    let cases: &[(&str, String)] = &[
        ("kind first, and users far behind it", format!("kind: Config\n{}{users}", clusters())),
        ("kind last", format!("{}{users}kind: Config\n", clusters())),
        ("kind last, without a line's end", format!("{}{users}kind: Config", clusters())),
        ("kind last, after much", format!("{users}{}kind: Config\n", clusters())),
        ("kind in quotes", format!("kind: \"Config\"\n{users}")),
        ("kind in single quotes", format!("kind: 'Config'\n{users}")),
        ("users alone", users.into()),
        ("other line ends", users.replace('\n', "\r\n")),
        ("tabs and spaces", "users :\n- name: a\n  user :  \n    token :\tSecret77".into()),
        ("a mapping in braces", "kind: Config\nusers:\n- name: a\n  user: {token: Secret77}\n".into()),
        ("braces without spaces", "kind: Config\nusers: [{name: a,user: {username: b,password: Secret77}}]\n".into()),
        ("a block", "kind: Config\nusers:\n- name: a\n  user:\n    token: |-\n      Secret77\n".into()),
        ("a folded block", "kind: Config\nusers:\n- name: a\n  user:\n    token: >2+ # it\n      Secret77\n".into()),
        ("the next line", "kind: Config\nusers:\n- name: a\n  user:\n    token:\n      Secret77\n".into()),
        ("the next line, in quotes", "kind: Config\nusers:\n- name: a\n  user:\n    token:\n      \"Secret77\"\n".into()),
        ("an anchor", "kind: Config\nusers:\n- name: a\n  user:\n    token: &t Secret77\n".into()),
        ("an anchor of the user", "kind: Config\nusers:\n- name: a\n  user: &u\n    token: &t |-\n      Secret77\n".into()),
        ("an alias", "x: &t Secret77\nkind: Config\nusers:\n- name: a\n  user:\n    token: *t\n".into()),
        ("a type", "kind: Config\nusers:\n- name: a\n  user: !!map\n    token: !!str Secret77\n".into()),
        ("quotes", "'users':\n- 'name': 'a'\n  'user':\n    'token': 'Secret77'\n".into()),
        ("a comment", "users: # all\n- name: a\n  user: # me\n    token: # mine\n      Secret77\n".into()),
        ("other letters", "users:\n- name: a\n  user:\n    password: пароль\n".into()),
        ("a password like a variable", "users:\n- name: a\n  user:\n    password: $ecret\n".into()),
        ("an empty token first", "users:\n- name: a\n  user:\n    token: \"\"\n- name: b\n  user:\n    password: Secret77\n".into()),
        ("a long token", format!("users:\n- name: a\n  user:\n    token: {long}\n")),
        ("a key in short lines", format!("users:\n- name: a\n  user:\n    client-key-data: >-\n{}", folded_key())),
        ("JSON", "{\"kind\":\"Config\",\"users\":[{\"name\":\"a\",\"user\":{\"token\":\"Secret77\"}}]}".into()),
        ("JSON in lines", "{\n \"users\" : [\n {\n \"user\" : {\n \"password\" :\n \"Secret77\"\n }\n }\n ]\n}\n".into()),
        ("JSON in a string", "x: \"{\\\"users\\\":[{\\\"user\\\":{\\\"token\\\":\\\"Secret77\\\"}}]}\"\n".into()),
        ("YAML in a string", "x: \"kind: Config\\nusers:\\n- name: a\\n  user:\\n    token: |-\\n      Secret77\\n\"\n".into()),
        ("YAML in YAML", format!("stringData:\n  value: |\n    {}", users.replace('\n', "\n    "))),
    ];
    let texts: Vec<String> = cases.iter().map(|(_, text)| text.clone()).collect();
    for ((name, text), found) in cases.iter().zip(found(&texts)) {
        assert!(found.len() == 1 && found[0].contains(": kubeconfig with a credential ("), "{name}: {found:?}\n{text}");
        assert!(!found[0].contains("Secret77"), "{name}: {found:?}");
    }
}

#[test]
fn a_kubeconfig_without_a_credential_is_clean() {
    let user = |lines: &str| format!("kind: Config\nusers:\n- name: a\n  user:\n    {lines}\n");
    let cases: &[(&str, String)] = &[
        ("no users", "kind: Config\nusers: []\ncontexts: null\n".into()),
        ("clusters alone", clusters()),
        ("paths", user("client-certificate: /a.crt\n    client-key: /a.key\n    tokenFile: /run/token")),
        ("a program", user("exec:\n      command: get-token\n      args: [token, password]")),
        ("empty", user("token: \"\"\n    password: ''\n    client-key-data:")),
        ("nothing, and another user", user("token:\n- name: b\n  user:\n    tokenFile: /run/token")),
        ("nothing, and another name", user("token:\n    username: b\n    password:\ncontexts: []")),
        ("nothing, and another document", user("password:\n---\nkind: Pod")),
        ("null", user("token: null\n    password: ~")),
        ("what kubectl hides", user("client-key-data: DATA+OMITTED\n    token: REDACTED")),
        ("templates", user("token: {{ token }}\n    password: ${PASSWORD}")),
        ("more templates", user("token: <your token>\n    password: $PASSWORD")),
        ("stars", user("token: \"********\"\n    password: xxxxxx")),
        ("JSON", "{\"users\":[{\"name\":\"a\",\"user\":{\"token\":\"\",\"password\":null}}]}".into()),
        ("JSON in a string", "{\\\"users\\\":[{\\\"user\\\":{\\\"token\\\":\\\"\\\"}}]}".into()),
        ("a schema", "{\"users\": {\"user\": {\"token\": {\"type\": \"string\"}}}}".into()),
        ("other users", "users:\n- name: a\n  groups: wheel\n  user: b\n  ssh-keys: []\npasswords: kept\ntoken: none of a user\n".into()),
        ("prose", "Two users: one user: the first, whose password: was said.\n".into()),
        ("a program's words", "users:\0user:\n\0token: x7\0password: y7\0".into()),
    ];
    let texts: Vec<String> = cases.iter().map(|(_, text)| text.clone()).collect();
    for ((name, text), found) in cases.iter().zip(found(&texts)) {
        assert!(found.is_empty(), "{name}: {found:?}\n{text}");
    }
}
