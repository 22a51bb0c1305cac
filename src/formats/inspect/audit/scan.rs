//! Finds secrets in a stream of any length, with a sliding window.

use std::sync::LazyLock;

use super::secret::{AHEAD, BACK, Secret};
use super::secrets::ANCHORS;

/// A secret in a stream.
pub(super) struct Hit {
    pub secret: Secret,
    /// In bytes from the stream's start.
    pub offset: u64,
    /// Line number from 1; none where the stream is no text up to there.
    pub line: Option<u64>,
}

/// Searches one stream.
pub(super) struct Scanner {
    buffer: Vec<u8>,
    /// The buffer's offset in the stream, in bytes.
    base: u64,
    /// The position in the buffer at which the search continues.
    next: usize,
    /// The end of the last secret, in the stream: a match inside of it is no other secret.
    past: u64,
    /// Number of newlines before `counted`; none after a NUL.
    lines: Option<u64>,
    counted: usize,
}

impl Scanner {
    /// A scanner for a stream that begins at `offset` of a file or disk.
    pub(super) fn new(offset: u64) -> Self {
        Scanner { buffer: Vec::new(), base: offset, next: 0, past: 0, lines: Some(0), counted: 0 }
    }

    /// Drops the window and restarts at `offset`.
    pub(super) fn restart(&mut self, offset: u64) {
        self.buffer.clear();
        (self.base, self.next, self.past, self.lines, self.counted) = (offset, 0, 0, Some(0), 0);
    }

    /// The offset of the next byte of the stream.
    pub(super) fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// Searches the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8], found: &mut dyn FnMut(Hit)) {
        self.buffer.extend_from_slice(bytes);
        let end = self.buffer.len().saturating_sub(AHEAD);
        self.search(end, found);
        let cut = self.next.saturating_sub(BACK);
        if cut > 0 {
            self.count(cut);
            self.buffer.drain(..cut);
            self.base += cut as u64;
            self.next -= cut;
            self.counted = 0;
        }
    }

    /// Searches the rest of the window at the stream's end.
    pub(super) fn finish(&mut self, found: &mut dyn FnMut(Hit)) {
        self.search(self.buffer.len(), found);
        self.restart(self.end());
    }

    /// Searches all positions before `end`.
    fn search(&mut self, end: usize, found: &mut dyn FnMut(Hit)) {
        while let Some((at, secret, len)) = self.find(end) {
            let offset = self.base + at as u64;
            if offset >= self.past {
                self.past = offset + len as u64;
                self.count(at);
                // Lines up to here may have been counted already; the secret's own line is then unknown.
                let line = self.lines.filter(|_| self.counted == at).map(|lines| lines + 1);
                found(Hit { secret, offset, line });
            }
        }
        self.next = self.next.max(end);
    }

    /// The next secret: position, kind, and length as far as it was read.
    fn find(&mut self, end: usize) -> Option<(usize, Secret, usize)> {
        let index = &*INDEX;
        while self.next < end {
            let rest = &self.buffer[self.next..];
            // The fast path: most bytes of a disk match no anchor.
            let Some(skipped) = rest.windows(2).take(end - self.next).position(|pair| index.first[pair_of(pair)] != 0) else {
                self.next = end;
                return None;
            };
            let at = self.next + skipped;
            self.next = at + 1;
            let bucket = &index.buckets[usize::from(index.first[pair_of(&self.buffer[at..at + 2])]) - 1];
            for anchor in bucket {
                let (wanted, test) = ANCHORS[*anchor];
                if self.buffer[at..].starts_with(wanted)
                    && let Some(found) = test(&self.buffer, at)
                {
                    return Some((found.start, found.secret, found.len));
                }
            }
        }
        None
    }

    /// Counts lines up to a position.
    fn count(&mut self, to: usize) {
        let Some(new) = self.buffer.get(self.counted..to) else { return };
        self.lines = self.lines.filter(|_| !new.contains(&0)).map(|lines| lines + new.iter().filter(|&&byte| byte == b'\n').count() as u64);
        self.counted = to;
    }
}

/// Anchors by their first two bytes.
struct Index {
    /// The number of a bucket, from 1, by both bytes as one number; 0 for none.
    first: Vec<u8>,
    buckets: Vec<Vec<usize>>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { first: vec![0; 1 << 16], buckets: Vec::new() };
    for (number, (wanted, _)) in ANCHORS.iter().enumerate() {
        let slot = &mut index.first[pair_of(wanted)];
        if *slot == 0 {
            index.buckets.push(Vec::new());
            *slot = index.buckets.len() as u8;
        }
        index.buckets[usize::from(*slot) - 1].push(number);
    }
    index
});

fn pair_of(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}
