//! Entries that a clean rebuild finds wrong.

use super::*;
use crate::common::value::Cancel;
use crate::storage::store::Blob;

#[test]
fn trusted_entries_of_lower_stores_are_compared_and_wrong_ones_distrusted() {
    // The outputs that the own store and the lower store record for an action that gives `right`; the expected message, if
    // any.
    let cases = [
        (None, None, 0, None),
        (Some("right"), Some("wrong"), 1, None),
        (None, Some("right"), 1, None),
        (Some("wrong"), None, 1, Some(".json names ")),
        (Some("wrong"), Some("right"), 1, Some(".json names ")),
        (None, Some("wrong"), 1, Some(".json of a lower store names ")),
    ];
    for (own, lower, expected, words) in cases {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| Store::open(&dir.path().join(name), Access::Shared, &Cancel::new(), &|| {}).unwrap();
        let key = Sha256::of("plan");
        let says = |store: &Store, text: &str| -> Blob {
            let blob = store.insert(text.as_bytes()).unwrap();
            store.put_action("base", &key, &Action { outputs: [("tree".to_owned(), blob)].into() }).unwrap();
            blob
        };
        lower.map(|text| says(&open("below"), text));
        open("below");
        let store = open("above").over(&[dir.path().join("below")], &Cancel::new(), &|_| {}).unwrap();
        own.map(|text| says(&store, text));
        let fresh = open("fresh");
        says(&fresh, "right");
        let (compared, wrong_entries) = compare_entries(&store, &fresh).unwrap();
        assert_eq!(compared, expected, "{own:?} {lower:?}");
        assert_eq!(wrong_entries.len(), usize::from(words.is_some()), "{own:?} {lower:?}: {wrong_entries:?}");
        for (kind, key, line) in &wrong_entries {
            assert!(line.contains(words.unwrap()), "{line}");
            store.distrust_action(kind, key).unwrap();
            assert!(matches!(store.action(kind, key), Lookup::Miss(_)), "{own:?} {lower:?}");
            assert_eq!(compare_entries(&store, &fresh).unwrap(), (0, Vec::new()));
        }
    }
}
