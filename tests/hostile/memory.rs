//! The memory that a function takes: Rust's allocations are counted one by one, those of C code (zstd) by the pages that the
//! process touched.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static HELD: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grown(size: usize) {
    let held = HELD.fetch_add(size as u64, Ordering::Relaxed) + size as u64;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator is unsafe")]
// SAFETY: everything is the system's allocator's, whose promises these are; the counters are no part of them.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The result of `run`, and its peak of memory in bytes.
pub fn measure<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    // "5" makes the peak of resident memory what is resident now (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").unwrap_or_else(|e| panic!("cannot reset the peak of memory: {e}"));
    let resident = resident("VmRSS:");
    let result = run();
    let counted = PEAK.load(Ordering::Relaxed) - before;
    let touched = self::resident("VmHWM:").saturating_sub(resident);
    // The system's allocator may hold on to a little more than it was asked for.
    (result, counted.max(touched.saturating_sub(4 << 20)))
}

fn resident(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn memory_of_both_kinds_is_seen() {
    let _alone = crate::ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (_, used) = measure(|| drop(vec![1_u8; 50 << 20]));
    // A little less is seen where another thread, such as the test runner's own, frees something meanwhile.
    assert!((49 << 20..60 << 20).contains(&used), "{used}");
    // zstd's library does not allocate through Rust.
    let window = 64 << 20;
    let mut packer = zstd::Encoder::new(Vec::new(), 3).unwrap();
    packer.window_log(26).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(7), window), &mut packer).unwrap();
    let packed = packer.finish().unwrap();
    let (_, used) = measure(|| std::io::copy(&mut zstd::Decoder::new(&packed[..]).unwrap(), &mut std::io::sink()).unwrap());
    assert!(used > window / 2, "{used}");
}
