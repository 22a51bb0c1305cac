use super::*;

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// A reader for the tests, by the format's specification: a bucket from its page, or from the page inside a value.
fn read(file: &[u8], page: &[u8]) -> BTreeMap<Vec<u8>, Entry> {
    let count = number(page, 10, 2) as usize;
    let mut found = BTreeMap::new();
    for at in (0..count).map(|index| 16 + index * 16) {
        match number(page, 8, 2) {
            1 => {
                let (place, len, child) = (number(page, at, 4) as usize, number(page, at + 4, 4) as usize, number(page, at + 8, 8));
                let below = read(file, &file[child as usize * PAGE..]);
                assert_eq!(below.keys().next().unwrap(), &page[at + place..at + place + len], "a branch has its child's first key");
                assert_eq!(number(file, child as usize * PAGE, 8), child, "a page knows its number");
                found.extend(below);
            }
            2 => {
                let [flags, place, key, value] = [0, 4, 8, 12].map(|field| number(page, at + field, 4) as usize);
                let (start, middle) = (at + place, at + place + key);
                let value = &page[middle..middle + value];
                let entry = if flags == 1 { Entry::Bucket(bucket(file, value)) } else { Entry::Value(value.to_vec()) };
                assert!(found.insert(page[start..middle].to_vec(), entry).is_none());
            }
            kind => panic!("a page of kind {kind}"),
        }
    }
    found
}

fn bucket(file: &[u8], value: &[u8]) -> Bucket {
    let (root, sequence) = (number(value, 0, 8), number(value, 8, 8));
    let page = if root == 0 { &value[16..] } else { &file[root as usize * PAGE..] };
    Bucket { sequence, entries: read(file, page) }
}

fn open(file: &[u8]) -> Bucket {
    assert_eq!(file.len() % PAGE, 0);
    let meta = &file[PAGE + 16..];
    assert_eq!((number(meta, 0, 4), number(meta, 32, 8), number(meta, 40, 8)), (0xed0c_daed, 2, (file.len() / PAGE) as u64));
    bucket(file, &meta[16..])
}

/// Buckets of every kind: empty, inline, with pages of their own, with two levels of branches, with values of several
/// pages.
pub(super) fn sample() -> Bucket {
    let mut root = Bucket::new();
    root.bucket("empty");
    root.bucket("inline").put("key", "value");
    root.bucket("inline").set_sequence(7);
    root.bucket("nothing").put("nil", "");
    root.bucket("nested").bucket("a").bucket("b").put("c", vec![0xff; 1500]);
    root.bucket("long").put("value", vec![b'x'; 3 * PAGE]);
    root.bucket("long").put(vec![b'k'; KEY_MAX], vec![b'y'; 20]);
    let many = root.bucket("many");
    many.set_sequence(40_000);
    for index in 0..40_000u32 {
        many.put(index.to_be_bytes(), format!("value {index}"));
    }
    let keys = root.bucket("keys");
    for index in 0..50u8 {
        keys.put([vec![index; 3000], vec![1]].concat(), vec![index; 3]);
    }
    let both = root.bucket("both");
    for index in 0..300u32 {
        both.bucket(format!("bucket {index}")).put("size", vec![0; index as usize * 5]);
        both.put(format!("value {index}"), "1");
    }
    root
}

#[test]
fn all_entries_are_read_back() {
    let sample = sample();
    let file = sample.file().unwrap();
    assert_eq!(open(&file), sample);
    assert_eq!(file, sample.file().unwrap());
    // Other bytes need another `plan::IMAGE_FORMAT`.
    assert_eq!((file.len(), page::fnv1a(&file)), (2_531_328, 5_040_722_950_858_067_163));
}

#[test]
fn the_smallest_file_equals_that_of_bbolt() {
    // Two meta pages, the free list, an empty leaf.
    let file = Bucket::new().file().unwrap();
    assert_eq!(file.len(), 4 * PAGE);
    assert_eq!(open(&file), Bucket::new());
    assert_eq!(&file[2 * PAGE..2 * PAGE + 16], &[2, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&file[3 * PAGE..3 * PAGE + 16], &[3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn small_buckets_are_inline() {
    let pages = |len: usize| {
        let mut root = Bucket::new();
        root.bucket("a").put("b", vec![0; len]);
        root.file().unwrap().len() / PAGE
    };
    // Header, element and key have 33 bytes; a quarter of a page has 1024.
    assert_eq!((pages(991), pages(992)), (4, 5));
}

#[test]
fn entries_that_bbolt_would_refuse_are_refused() {
    let with = |key: Vec<u8>| {
        let mut root = Bucket::new();
        root.bucket("a").put(key, "");
        root.file()
    };
    assert!(with(vec![]).is_err() && with(vec![0; KEY_MAX + 1]).is_err() && with(vec![0]).is_ok());
    let mut root = Bucket::new();
    root.put("a", "b");
    assert!(root.file().is_err(), "values stand in buckets");
}

#[test]
fn a_bucket_replaces_a_value() {
    let mut root = Bucket::new();
    root.put("a", "b");
    root.bucket("a").put("c", "d");
    assert_eq!(open(&root.file().unwrap()), root);
}
