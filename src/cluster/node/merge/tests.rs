use std::process::Command;

use super::*;

const OTHERS: &str = r#"# a person's comment
apiVersion: v1
kind: Config
preferences: {colors: yes}
current-context: work
clusters:
- name: work
  cluster: {server: "https://work.example:6443", insecure-skip-tls-verify: true, extensions: [{name: x, extension: {number: 0644, "text": "0644"}}]}
- cluster:
    server: https://lab.example
    certificate-authority-data: b3RoZXI=
    proxy-url: http://proxy.example
  name: other
contexts:
  - context: &here
      cluster: work
      user: me
      namespace: mine
    name: work
  - {name: again, context: *here}
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: get-token
      args: ["--for", 'work', "on"]
      interactiveMode: Never
      provideClusterInfo: false
- name: kubernetes-admin
  user:
    token: |
      two
      lines
unknown-field: [1, 1.5, ~, null, 2001-01-01]
"#;

fn caller<'a>(key: &'a SecretString, authority: &'a str) -> Caller<'a> {
    Caller { cluster: "lab", user: "kubernetes-admin", server: "https://192.168.7.10:6443", authority, certificate: "certificate", key }
}

fn merge(before: &str) -> Result<String> {
    let key = SecretString::from("key");
    merged_kubeconfig(&before.into(), &caller(&key, "authority")).map(|text| text.expose_secret().to_owned())
}

/// A kubeconfig as kubectl's JSON.
fn kubectl(text: &str) -> serde_json::Value {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    std::fs::write(&path, text).unwrap();
    let output = Command::new("kubectl").args(["config", "view", "--raw", "-o", "json", "--kubeconfig"]).arg(&path).output();
    let output = output.unwrap_or_else(|e| panic!("kubectl is missing: run tests/setup.sh ({e})"));
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The items of a list by their names.
fn by_name(config: &serde_json::Value, list: &str) -> BTreeMap<String, serde_json::Value> {
    let items = config[list].as_array().cloned().unwrap_or_default();
    items.into_iter().map(|item| (item["name"].as_str().unwrap().to_owned(), item)).collect()
}

#[test]
fn kubectl_finds_all_that_was_there_and_the_cluster_beside_it() {
    let before = kubectl(OTHERS);
    let merged = merge(OTHERS).unwrap();
    let after = kubectl(&merged);
    for (list, ours) in [("clusters", "lab"), ("users", "kubernetes-admin@lab"), ("contexts", "kubernetes-admin@lab")] {
        let (before, mut after) = (by_name(&before, list), by_name(&after, list));
        assert!(after.remove(ours).is_some(), "{list}: {merged}");
        assert_eq!(before, after, "{list}: {merged}");
    }
    for same in ["current-context", "preferences", "apiVersion", "kind"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    let cluster = &by_name(&after, "clusters")["lab"]["cluster"];
    assert_eq!(
        (&cluster["server"], &cluster["certificate-authority-data"]),
        (&"https://192.168.7.10:6443".into(), &STANDARD.encode("authority").into())
    );
    // kubectl drops unknown fields: the file itself must still have them, with their spelling.
    for part in ["unknown-field:\n  - 1\n  - 1.5\n  - ~\n  - null\n  - 2001-01-01\n", "number: 0644\n", "\"text\": \"0644\"", "colors: yes"]
    {
        assert!(merged.contains(part), "{part}: {merged}");
    }
    assert_eq!(merge(&merged).unwrap(), merged, "once more changes nothing");
}

#[test]
fn our_own_entries_are_brought_up_to_date_and_keep_what_a_person_added() {
    let merged = merge("").unwrap();
    let edited = merged
        .replace("https://192.168.7.10:6443", "https://old.example")
        .replace("context:\n      cluster:", "context:\n      namespace: mine\n      cluster:")
        .replace("    cluster:\n", "    cluster:\n      proxy-url: http://proxy.example\n");
    assert_ne!(edited, merged);
    let after = merge(&edited).unwrap();
    assert!(after.contains("https://192.168.7.10:6443") && !after.contains("old.example"), "{after}");
    assert!(after.contains("namespace: mine") && after.contains("proxy-url: http://proxy.example"), "{after}");
    assert_eq!(kubectl(&after)["current-context"], "kubernetes-admin@lab", "an empty file has no other");
}

#[test]
fn json_is_taken_and_so_is_an_empty_file() {
    let json = "{\n\t\"kind\": \"Config\",\n\t\"apiVersion\": \"v1\",\n\t\"clusters\": null,\n\t\"users\": [{\"name\": \"ü\\ud83d\\ude00\", \"user\": {\"token\": \"a\\/b\"}}]\n}\n";
    let after = kubectl(&merge(json).unwrap());
    assert_eq!(by_name(&after, "users")["ü😀"]["user"]["token"], "a/b");
    assert_eq!(by_name(&after, "clusters").len(), 1);
    for empty in ["", "\n", "---\n", "{}", "# nothing\n", "null\n"] {
        assert_eq!(by_name(&kubectl(&merge(empty).unwrap()), "contexts").len(), 1, "{empty:?}");
    }
}

#[test]
fn entries_of_another_cluster_of_the_same_name_are_never_replaced() {
    let merged = merge("").unwrap();
    let other = merged.replace(&STANDARD.encode("authority"), "b3RoZXI=");
    let error = merge(&other).unwrap_err().to_string();
    assert!(error.contains("another cluster `lab` already") && error.contains("kubectl config delete-cluster lab"), "{error}");
    let error = merge(&merged.replace("cluster: \"lab\"", "cluster: \"prod\"")).unwrap_err().to_string();
    assert!(error.contains("another context `kubernetes-admin@lab`"), "{error}");
    let error = merge("users:\n- name: kubernetes-admin@lab\n  user: {token: t}\n").unwrap_err().to_string();
    assert!(error.contains("another user `kubernetes-admin@lab`"), "{error}");
}

#[test]
fn what_is_no_kubeconfig_is_refused_without_repeating_it() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &(b'b'..=b'i')
            .map(|c| format!("{0}: &{0} [{1}]\n", c as char, vec![format!("*{}", (c - 1) as char); 10].join(", ")))
            .collect::<String>();
    let deep = "[".repeat(100) + &"]".repeat(100);
    for text in [
        "- a\n",
        "text",
        "kind: Pod\n",
        "clusters: {}\n",
        "a: b\n---\nc: d\n",
        "a: [secret-text",
        "a: !secret x\n",
        "? [a]\n: b\n",
        &bomb,
        &deep,
    ] {
        let error = merge(text).unwrap_err().to_string();
        assert!(error.starts_with("this is not a kubeconfig: ") && !error.contains("secret"), "{text}: {error}");
    }
}

#[test]
fn a_kubeconfig_is_a_cluster_s_own_only_if_nothing_else_is_in_it() {
    let key = SecretString::from("key");
    let own = |text: &str| is_kubeconfig_of(&text.into(), &caller(&key, "authority")).unwrap();
    let plain = super::super::kubeconfig(&caller(&key, "authority"));
    assert!(own(plain.expose_secret()) && own(&merge("").unwrap()) && own(""));
    assert!(!own(OTHERS) && !own(&merge(OTHERS).unwrap()));
    assert!(!own(&plain.expose_secret().replace(&STANDARD.encode("authority"), "b3RoZXI=")), "another cluster of the same name");
    assert!(!own(&format!("{}  - name: me\n    user: {{token: t}}\n", plain.expose_secret())), "a user of nobody's");
}
