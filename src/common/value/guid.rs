//! UUIDs ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562)) of disks, partitions, filesystems and machines: the same in every build.

pub(crate) use uuid::Uuid;

use super::Hasher;

/// A reproducible UUID from `namespace` (the kind of thing: "ext4 filesystem") and `name` (which one: a role, a
/// plan's hash).
///
/// Version 8 of RFC 9562 §5.8: the first bits of a SHA-256 over both texts. Each is preceded by its length, so that
/// ("ab", "c") and ("a", "bc") differ.
pub fn derived_uuid(namespace: &str, name: &str) -> Uuid {
    let mut hasher = Hasher::new();
    for text in [namespace, name] {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    let digest = hasher.finish().0;
    Uuid::new_v8(std::array::from_fn(|at| digest[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_uuids_are_stable_and_distinct() {
        let one = derived_uuid("disk", "etcd");
        // Pinned: a change would change all images.
        assert_eq!(one.to_string(), "0a5f3433-5bc9-87bc-ba8b-965d1dd77766");
        assert_ne!(one, derived_uuid("disk", "worker"));
        assert_ne!(one, derived_uuid("partition", "etcd"));
        assert_ne!(derived_uuid("ab", "c"), derived_uuid("a", "bc"));
        for name in 0..64 {
            let text = derived_uuid("disk", &name.to_string()).to_string();
            assert_eq!(&text[14..15], "8", "version of {text}");
            assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "variant of {text}");
        }
    }
}
