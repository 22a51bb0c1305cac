//! Rules about paths: places where programs keep one machine's own data.

use super::Kind;
use super::pattern::matches;

/// The length of the head of a file that rules read, in bytes.
pub(super) const HEAD: usize = 64 << 10;

/// The condition under which a file at a rule's path counts.
#[derive(Clone, Copy)]
enum When {
    /// The file is not empty.
    Filled,
    /// The head of the file passes this test.
    Head(fn(&[u8]) -> bool),
}

struct Rule {
    kind: Kind,
    what: &'static str,
    when: When,
    patterns: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        kind: Kind::Identity,
        what: "machine-id",
        when: When::Head(is_machine_id),
        patterns: &["etc/machine-id", "var/lib/dbus/machine-id", "usr/local/etc/machine-id"],
    },
    Rule {
        kind: Kind::Identity,
        what: "name of a storage initiator",
        when: When::Head(|head| lines(head).any(|line| line.starts_with(b"InitiatorName="))),
        // The second is the path in an initial RAM disk.
        patterns: &["etc/iscsi/initiatorname.iscsi", "etc/initiatorname.iscsi"],
    },
    Rule { kind: Kind::Identity, what: "host id", when: When::Filled, patterns: &["etc/hostid", "etc/dhcpcd.duid"] },
    Rule {
        kind: Kind::PrivateKey,
        what: "shared key",
        when: When::Head(has_entry),
        patterns: &["etc/munge/munge.key", "etc/bind/rndc.key", "etc/corosync/authkey"],
    },
    Rule { kind: Kind::Identity, what: "NVMe host", when: When::Filled, patterns: &["etc/nvme/hostnqn", "etc/nvme/hostid"] },
    Rule {
        kind: Kind::HostKey,
        what: "",
        when: When::Filled,
        patterns: &[
            "etc/ssh/ssh_host_*",
            "etc/dropbear/dropbear_*_host_key",
            "etc/dropbear/initramfs/dropbear_*_host_key",
            "etc/tinyssh/**",
        ],
    },
    Rule {
        kind: Kind::RandomSeed,
        what: "",
        when: When::Filled,
        patterns: &[
            "var/lib/systemd/random-seed",
            "var/lib/urandom/random-seed",
            "var/lib/misc/random-seed",
            "var/lib/random-seed",
            "var/lib/seedrng/*",
            "var/lib/chrony/*.keys",
            "**/loader/random-seed",
        ],
    },
    Rule {
        kind: Kind::PrivateKey,
        what: "key store",
        when: When::Filled,
        patterns: &[
            "var/lib/systemd/credential.secret",
            "var/lib/NetworkManager/secret_key",
            "**/*.keytab",
            "**/*.p12",
            "**/*.pfx",
            "**/*.kdbx",
            "**/secring.gpg",
            "**/private-keys-v1.d/*.key",
            "var/lib/samba/private/secrets.tdb",
            "var/lib/sss/secrets/**",
        ],
    },
    Rule {
        kind: Kind::Credential,
        what: "program's login",
        when: When::Filled,
        patterns: &[
            "**/.aws/credentials",
            "**/gcloud/*credentials*",
            "**/gcloud/access_tokens.db",
            "**/.azure/*oken*",
            "**/.azure/msal_token_cache*",
            "**/.vault-token",
            "**/.git-credentials",
            "**/.pgpass",
            "**/.config/gh/hosts.yml",
            "**/.config/rclone/rclone.conf",
            "**/kubernetes.io/serviceaccount/token",
            "var/lib/rancher/*/server/token",
            "var/lib/rancher/*/server/node-token",
        ],
    },
    Rule {
        kind: Kind::Credential,
        what: "netrc",
        when: When::Head(|head| has(head, b"password") || has(head, b"login")),
        patterns: &["**/.netrc", "**/_netrc", "etc/apt/auth.conf", "etc/apt/auth.conf.d/*"],
    },
    Rule {
        kind: Kind::Credential,
        what: "program's login",
        when: When::Head(|head| has(head, b"password") || has(head, b"_auth")),
        patterns: &["**/.my.cnf", "**/.npmrc", "**/.pypirc", "**/.s3cfg", "**/.boto"],
    },
    Rule {
        kind: Kind::Credential,
        what: "shared secrets",
        when: When::Head(has_entry),
        patterns: &["etc/ppp/*-secrets", "etc/ipsec.secrets", "etc/ipsec.d/*.secrets"],
    },
    Rule {
        kind: Kind::History,
        what: "",
        when: When::Filled,
        patterns: &[
            "**/.*_history",
            "**/.history",
            "**/.histfile",
            "**/fish_history",
            "**/.lesshst",
            "**/.viminfo",
            "**/.node_repl_history",
            "**/.wget-hsts",
        ],
    },
    Rule {
        kind: Kind::AuthorizedKeys,
        what: "",
        when: When::Head(has_entry),
        patterns: &["**/authorized_keys", "**/authorized_keys2", "etc/ssh/authorized_keys/*", "etc/ssh/authorized_keys.d/*"],
    },
    Rule {
        kind: Kind::PackageCache,
        what: "",
        when: When::Filled,
        patterns: &[
            "var/cache/apt/**",
            "var/lib/apt/lists/**",
            "var/cache/dnf/**",
            "var/cache/libdnf5/**",
            "var/cache/yum/**",
            "var/cache/zypp/**",
            "var/cache/pacman/pkg/**",
            "var/cache/apk/**",
            "var/lib/pacman/sync/**",
        ],
    },
    Rule { kind: Kind::Log, what: "", when: When::Filled, patterns: &["var/log/**", "run/log/**"] },
    Rule { kind: Kind::Log, what: "mail", when: When::Filled, patterns: &["var/mail/*", "var/spool/mail/*"] },
    Rule { kind: Kind::Log, what: "dump", when: When::Filled, patterns: &["var/crash/**", "var/lib/systemd/coredump/**"] },
    Rule { kind: Kind::CloudInit, what: "", when: When::Filled, patterns: &["var/lib/cloud/**", "run/cloud-init/**"] },
    Rule {
        kind: Kind::Lease,
        what: "",
        when: When::Filled,
        patterns: &[
            "var/lib/dhcp/*",
            "var/lib/dhclient/*",
            "var/lib/dhcpcd/**",
            "var/lib/dhcpcd5/**",
            "var/lib/NetworkManager/*lease*",
            "var/lib/NetworkManager/seen-bssids",
            "**/systemd/netif/leases/*",
            "var/lib/wicked/lease-*",
            "etc/dhcpcd.secret",
        ],
    },
    Rule {
        kind: Kind::NetworkSecret,
        what: "",
        when: When::Head(has_network_secret),
        patterns: &[
            "**/NetworkManager/system-connections/*",
            "etc/netplan/*",
            "etc/wpa_supplicant/**",
            "etc/wpa_supplicant.conf",
            "etc/network/interfaces",
            "etc/network/interfaces.d/*",
        ],
    },
    Rule { kind: Kind::NetworkSecret, what: "", when: When::Filled, patterns: &["var/lib/iwd/*.psk", "var/lib/iwd/*.8021x"] },
];

/// The kind of a file of `size` bytes that begins with `head`, by its path, with details where the kind needs them. `path` is the one
/// on a running machine, without leading slash.
pub(super) fn of_file(path: &[u8], size: u64, head: &[u8]) -> Option<(Kind, &'static str)> {
    let rule = RULES.iter().find(|rule| rule.patterns.iter().any(|pattern| matches(pattern, path)))?;
    let counts = match rule.when {
        When::Filled => size > 0,
        When::Head(test) => test(head),
    };
    counts.then_some((rule.kind, rule.what))
}

/// The kind of a symbolic link by its path: cloud-init's link to its last instance.
pub(super) fn of_symlink(path: &[u8]) -> Option<(Kind, &'static str)> {
    matches("var/lib/cloud/instance", path).then_some((Kind::CloudInit, ""))
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii)
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// True for a machine id ([machine-id(5)](https://www.freedesktop.org/software/systemd/man/latest/machine-id.html)). An empty file and
/// `uninitialized` make the next boot create one.
fn is_machine_id(head: &[u8]) -> bool {
    !matches!(head.trim_ascii(), b"" | b"uninitialized")
}

/// True when there is a line that is no comment.
fn has_entry(head: &[u8]) -> bool {
    lines(head).any(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// True when a key under which NetworkManager, netplan, wpa_supplicant or ifupdown keep secrets has a value.
fn has_network_secret(head: &[u8]) -> bool {
    const KEYS: &[&[u8]] = &[
        b"psk",
        b"password",
        b"wpa-psk",
        b"wep-key",
        b"wep_key",
        b"leap-password",
        b"private-key",
        b"preshared-key",
        b"passphrase",
        b"pin",
        b"secret",
    ];
    lines(head).any(|line| {
        let cut = line.iter().position(|byte| matches!(byte, b'=' | b':' | b' ')).unwrap_or(0);
        let (name, value) = line.split_at(cut);
        let name = name.trim_ascii();
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        !value.is_empty()
            && KEYS.iter().any(|key| name == *key || (name.starts_with(key) && name[key.len()..].iter().all(u8::is_ascii_digit)))
    })
}
