//! The record of a command's work, item by item: JSON lines for machines (docs/ci.md), a table for people. The only file that
//! measures time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::redact::redact;
use crate::common::error::Error;
use crate::common::report::{Item, ItemKind, Outcome};
use crate::common::value::{Digest, Size};

/// The items begun and ended so far.
pub(super) struct ItemLog {
    start: Instant,
    open: BTreeMap<Key, Duration>,
    /// Items already reported, which must not be reported as cached (again).
    known: BTreeSet<Key>,
    totals: BTreeMap<(Outcome, ItemKind), Total>,
    /// True after the last line.
    closed: bool,
}

/// The identity of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: ItemKind,
    name: String,
    digest: Option<Digest>,
}

impl Key {
    fn of(item: &Item<'_>, digest: Option<Digest>) -> Key {
        Key { kind: item.kind, name: item.name.to_owned(), digest }
    }
}

/// The total of all items of a kind with the same outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Total {
    items: u64,
    bytes: u64,
    milliseconds: u64,
    /// Start and end of each item.
    spans: Vec<(Duration, Duration)>,
}

/// The event line of an ended item.
#[derive(Serialize)]
struct Ended<'a> {
    event: &'static str,
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    digest: Option<String>,
    bytes: Option<u64>,
    seconds: f64,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Document<'a> {
    event: &'static str,
    data: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Sum {
    items: u64,
    bytes: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct Done {
    event: &'static str,
    seconds: f64,
    totals: BTreeMap<&'static str, BTreeMap<&'static str, Sum>>,
}

#[derive(Serialize)]
struct Failed {
    event: &'static str,
    class: &'static str,
    exit: u8,
    message: String,
    details: Vec<String>,
    hints: Vec<String>,
}

impl ItemLog {
    /// A new ledger; its clock starts now.
    pub(super) fn new() -> Self {
        ItemLog { start: now(), open: BTreeMap::new(), known: BTreeSet::new(), totals: BTreeMap::new(), closed: false }
    }

    /// Work on an item begins.
    pub(super) fn begun(&mut self, item: &Item<'_>) {
        let at = self.start.elapsed();
        self.open.insert(Key::of(item, item.digest), at);
    }

    /// Records the end of an item, which is now at `path` if it is outside the store. Returns the event line, if there is one.
    pub(super) fn ended(&mut self, item: &Item<'_>, outcome: Outcome, path: Option<&str>) -> Option<String> {
        let now = self.start.elapsed();
        let key = Key::of(item, item.digest);
        // The digest of an item that is being built is not known at its beginning.
        let begun = self.open.remove(&key).or_else(|| self.open.remove(&Key::of(item, None)));
        let is_new = self.known.insert(key);
        if self.closed || (outcome == Outcome::Cached && !is_new) {
            return None;
        }
        let span = (begun.unwrap_or(now), now);
        let milliseconds = milliseconds(span.1.saturating_sub(span.0));
        let total = self.totals.entry((outcome, item.kind)).or_default();
        total.items += 1;
        total.bytes = total.bytes.saturating_add(item.bytes.unwrap_or(0));
        total.milliseconds += milliseconds;
        if begun.is_some() {
            total.spans.push(span);
        }
        Some(line(&Ended {
            event: outcome.word(),
            kind: item.kind.word(),
            name: item.name,
            path,
            digest: item.digest.map(|digest| digest.to_string()),
            bytes: item.bytes,
            seconds: seconds(milliseconds),
        }))
    }

    /// The last line of a command that succeeded.
    pub(super) fn done(&mut self) -> String {
        let mut totals: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for ((outcome, kind), total) in &self.totals {
            let sum = Sum { items: total.items, bytes: total.bytes, seconds: seconds(total.milliseconds) };
            totals.entry(outcome.word()).or_default().insert(kind.word(), sum);
        }
        self.close(line(&Done { event: "done", seconds: seconds(milliseconds(self.start.elapsed())), totals }))
    }

    /// The last lines of a command that failed: its unfinished items, and the error.
    pub(super) fn failed(&mut self, error: &Error) -> String {
        let left: Vec<Key> = self.open.keys().cloned().collect();
        let mut lines = String::new();
        for key in &left {
            let item = Item { kind: key.kind, name: &key.name, digest: key.digest, bytes: None };
            lines.extend(self.ended(&item, Outcome::Failed, None));
        }
        let class = error.class();
        lines += &line(&Failed {
            event: "error",
            class: class.word(),
            exit: class.exit_code(),
            message: redact(error.message()),
            details: error.details().iter().map(|line| redact(line.trim_start())).collect(),
            hints: error.hints().iter().map(|line| redact(line)).collect(),
        });
        self.close(lines)
    }

    /// Closes the ledger: only the first last line is printed.
    fn close(&mut self, lines: String) -> String {
        if std::mem::replace(&mut self.closed, true) { String::new() } else { lines }
    }

    /// The table for people: a row per outcome and kind. None if there are no items.
    pub(super) fn table(&self) -> Option<String> {
        let all = self.start.elapsed();
        if self.totals.is_empty() {
            return None;
        }
        let mut rows: Vec<[String; 5]> = Vec::new();
        for ((outcome, kind), total) in &self.totals {
            let size = if total.bytes == 0 { String::new() } else { Size(total.bytes).to_string() };
            let time = if total.spans.is_empty() { String::new() } else { shown(covered(&total.spans)) };
            rows.push([outcome.word().to_owned(), total.items.to_string(), plural(*kind, total.items).to_owned(), size, time]);
        }
        if self.totals.keys().all(|(outcome, _)| *outcome == Outcome::Cached) {
            let things: Vec<String> =
                rows.into_iter().map(|[_, items, noun, size, _]| format!("{items} {noun} ({size})").replace(" ()", "")).collect();
            return Some(format!("nothing to do: {} already in the store; {}\n", things.join(", "), shown(all)));
        }
        rows.push(["total", "", "", "", &shown(all)].map(str::to_owned));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (first, second, third, fourth, fifth) = (width(0), width(1), width(2), width(3), width(4));
        let row = |[outcome, items, noun, size, time]: &[String; 5]| {
            let line = format!("{outcome:first$}  {items:>second$} {noun:third$}  {size:>fourth$}  {time:>fifth$}");
            line.trim_end().to_owned() + "\n"
        };
        Some(rows.iter().map(row).collect())
    }
}

/// A textual result as JSON lines.
pub(super) fn results(text: &str) -> String {
    text.lines().map(|text| line(&Line { event: "result", text })).collect()
}

/// A structured result as one JSON line.
pub(super) fn document(data: &serde_json::Value) -> String {
    line(&Document { event: "result", data })
}

fn line(event: &impl Serialize) -> String {
    // Strings, numbers and maps with string keys always serialize.
    serde_json::to_string(event).unwrap_or_default() + "\n"
}

fn plural(kind: ItemKind, items: u64) -> &'static str {
    let (one, many) = match kind {
        ItemKind::Input => ("input", "inputs"),
        ItemKind::Base => ("base", "bases"),
        ItemKind::Extraction => ("made file", "made files"),
        ItemKind::Image => ("image", "images"),
        ItemKind::File => ("file", "files"),
        ItemKind::Pin => ("pin", "pins"),
        ItemKind::Blob => ("blob", "blobs"),
        ItemKind::Entry => ("entry", "entries"),
        ItemKind::Bundle => ("bundle", "bundles"),
    };
    if items == 1 { one } else { many }
}

/// The time covered by the spans; overlaps count once.
fn covered(spans: &[(Duration, Duration)]) -> Duration {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let (mut sum, mut until) = (Duration::ZERO, Duration::ZERO);
    for (from, to) in sorted {
        sum += to.saturating_sub(from.max(until));
        until = until.max(to);
    }
    sum
}

fn shown(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds with three decimals, so that sums are exact.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a command are few")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[expect(clippy::disallowed_methods, reason = "the cli has the clock; how long things took goes to people and events, never to an output")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::common::value::Sha256;

    fn item<'a>(kind: ItemKind, name: &'a str, digest: impl Into<Option<&'a str>>, bytes: impl Into<Option<u64>>) -> Item<'a> {
        Item { kind, name, digest: digest.into().map(|text| Sha256::of(text).into()), bytes: bytes.into() }
    }

    /// The events of a cold build with one image.
    fn built() -> (ItemLog, Vec<Value>) {
        use ItemKind::{Base, File, Image, Input};
        let mut item_log = ItemLog::new();
        let mut lines = Vec::new();
        let mut end = |item_log: &mut ItemLog, item: &Item<'_>, outcome, path| {
            lines.extend(item_log.ended(item, outcome, path).map(|line| serde_json::from_str(&line).unwrap()));
        };
        let inputs = [item(Input, "one", "1", 5 << 20), item(Input, "two", "2", 1000)];
        inputs.iter().for_each(|input| item_log.begun(input));
        std::thread::sleep(Duration::from_millis(20));
        inputs.iter().for_each(|input| end(&mut item_log, input, Outcome::Fetched, None));
        // A later step finds one of them, and another that nobody fetched.
        end(&mut item_log, &inputs[0], Outcome::Cached, None);
        end(&mut item_log, &item(Input, "three", "3", None), Outcome::Cached, None);
        for (kind, digest) in [(Base, "base"), (Image, "image")] {
            item_log.begun(&item(kind, "etcd", None, None));
            end(&mut item_log, &item(kind, "etcd", digest, 300 << 20), Outcome::Built, None);
        }
        end(&mut item_log, &item(File, "etcd", "image", 300 << 20), Outcome::Written, Some("images/etcd.qcow2"));
        (item_log, lines)
    }

    /// The text with every time in it as `0.0 s`.
    fn masked(text: &str) -> String {
        let mask = |line: &str| match line.strip_suffix(" s").and_then(|line| line.rsplit_once(' ')) {
            Some((line, time)) if time.parse::<f64>().is_ok() => format!("{line} 0.0 s\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(mask).collect()
    }

    #[test]
    fn an_event_has_its_item_and_duration() {
        let (_, lines) = built();
        let told: Vec<String> = lines.iter().map(|line| format!("{} {} {}", line["event"], line["kind"], line["name"])).collect();
        assert_eq!(
            told.join("\n").replace('"', ""),
            "fetched input one\nfetched input two\ncached input three\nbuilt base etcd\nbuilt image etcd\nwritten file etcd"
        );
        let first = &lines[0];
        assert_eq!(first["digest"], format!("sha256:{}", Sha256::of("1")));
        assert!(first["bytes"] == 5 << 20 && first["seconds"].as_f64().unwrap() >= 0.02, "{first}");
        assert!(lines[2]["bytes"].is_null() && lines[2]["seconds"] == 0.0, "{}", lines[2]);
        assert_eq!(lines[5]["path"], "images/etcd.qcow2");
    }

    #[test]
    fn totals_are_the_sum_of_the_events() {
        let (mut item_log, lines) = built();
        let done: Value = serde_json::from_str(&item_log.done()).unwrap();
        let mut sums: BTreeMap<(String, String), (u64, u64, u64)> = BTreeMap::new();
        for line in &lines {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            let sum = sums.entry((text("event"), text("kind"))).or_default();
            let milliseconds = (line["seconds"].as_f64().unwrap() * 1000.0).round() as u64;
            *sum = (sum.0 + 1, sum.1 + line["bytes"].as_u64().unwrap_or(0), sum.2 + milliseconds);
        }
        for ((event, kind), (items, bytes, milliseconds)) in &sums {
            let total = &done["totals"][event][kind];
            let found = (total["items"].as_u64().unwrap(), total["bytes"].as_u64().unwrap(), total["seconds"].as_f64().unwrap());
            assert_eq!(found, (*items, *bytes, *milliseconds as f64 / 1000.0), "{event} {kind}");
        }
        assert_eq!(done["totals"].as_object().unwrap().values().map(|kinds| kinds.as_object().unwrap().len()).sum::<usize>(), sums.len());
    }

    #[test]
    fn people_get_a_table() {
        let (item_log, _) = built();
        assert_eq!(
            masked(&item_log.table().unwrap()),
            "cached   1 input\n\
             fetched  2 inputs  5.0 MiB  0.0 s\n\
             built    1 base    300 MiB  0.0 s\n\
             built    1 image   300 MiB  0.0 s\n\
             written  1 file    300 MiB\n\
             total                       0.0 s\n"
        );
        let mut item_log = ItemLog::new();
        assert_eq!(item_log.table(), None);
        item_log.ended(&item(ItemKind::Image, "a", "a", 1 << 20), Outcome::Cached, None);
        item_log.ended(&item(ItemKind::Image, "b", "b", 1 << 20), Outcome::Cached, None);
        item_log.ended(&item(ItemKind::Entry, "b", "b", None), Outcome::Cached, None);
        assert_eq!(masked(&item_log.table().unwrap()), "nothing to do: 2 images (2.0 MiB), 1 entry already in the store; 0.0 s\n");
    }

    #[test]
    fn unfinished_items_fail_with_the_command() {
        let mut item_log = ItemLog::new();
        item_log.begun(&item(ItemKind::Input, "one", "1", 10));
        item_log.begun(&item(ItemKind::Base, "etcd", None, None));
        let error = Error::integrity("bad \"bytes\"").detail("  expected a").hint("look");
        let lines: Vec<Value> = item_log.failed(&error).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[..2].iter().all(|line| line["event"] == "failed"), "{lines:?}");
        let expected = serde_json::json!({
            "event": "error", "class": "integrity", "exit": 4, "message": "bad \"bytes\"", "details": ["expected a"], "hints": ["look"]
        });
        assert_eq!(lines[2], expected);
        assert_eq!(item_log.failed(&error), "", "there is one last line");
        assert_eq!(item_log.ended(&item(ItemKind::Input, "one", "1", 10), Outcome::Fetched, None), None, "and nothing behind it");
    }

    #[test]
    fn time_that_overlaps_counts_once() {
        let ms = Duration::from_millis;
        for (spans, sum) in [(&[][..], 0), (&[(0, 5), (5, 9)], 9), (&[(3, 9), (0, 5), (1, 2)], 9), (&[(7, 9), (0, 2)], 4)] {
            let spans: Vec<_> = spans.iter().map(|&(from, to)| (ms(from), ms(to))).collect();
            assert_eq!(covered(&spans), ms(sum), "{spans:?}");
        }
    }

    #[test]
    fn results_are_a_line_each() {
        assert_eq!(
            results("a \"b\"\n\nc"),
            "{\"event\":\"result\",\"text\":\"a \\\"b\\\"\"}\n{\"event\":\"result\",\"text\":\"\"}\n{\"event\":\"result\",\"text\":\"c\"}\n"
        );
        assert_eq!(results(""), "");
    }
}
