//! The threads that share one piece of arithmetic.
//!
//! A region is cut into pieces; whoever is free takes the next. The caller works too, and waits only for threads that hold a piece,
//! never for one that has not come yet: on a busy machine a thread without a core costs nothing.
//!
//! Unsafe code: a region lends a closure and disjoint pieces of slices to threads that live longer. The safety argument stands at
//! [`Crew::share`], [`Crew::fill`] and [`Crew::fill_after`].
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};

/// Looks at an idle crew before its thread goes to sleep: some 50 to 100 µs, longer than the serial parts between two regions.
const SPINS: u32 = 4_000;
/// Looks at a thread that still works before the caller gives its core away.
const SPINS_BEFORE_YIELD: u32 = 2_000;

/// Numbers that are worth a piece of their own.
const WORTHWHILE: usize = 8_192;
/// How often each thread takes a piece when there is much to do.
const TAKES: usize = 6;

/// Of [`Region::door`]: the region is open. The bits below count threads inside, those above count regions.
const OPEN: usize = 1 << 16;
const INSIDE: usize = OPEN - 1;
const NEXT: usize = OPEN << 1;

/// Threads that wait for regions; ended when dropped.
pub struct Crew {
    region: Arc<Region>,
    mates: Vec<JoinHandle<()>>,
    threads: Vec<Thread>,
    /// One region at a time.
    turn: Mutex<()>,
}

struct Region {
    door: AtomicUsize,
    next_piece: AtomicUsize,
    pieces: AtomicUsize,
    /// Written only while the door is closed and nobody is inside; read only by threads that are inside.
    work: UnsafeCell<Work>,
    failed: AtomicBool,
    ended: AtomicBool,
    asleep: Vec<AtomicBool>,
}

/// A closure without its lifetime.
#[derive(Clone, Copy)]
struct Work {
    call: unsafe fn(*const (), usize),
    data: *const (),
}

// SAFETY: `work` is guarded by `door` (see `Crew::share`), and what it points to is `Sync`.
unsafe impl Sync for Region {}
// SAFETY: as above.
unsafe impl Send for Region {}

impl Crew {
    /// A crew of `threads` threads, the caller of a region counted. One means that no thread is started.
    pub fn new(threads: usize) -> std::io::Result<Crew> {
        let mates = threads.max(1) - 1;
        unsafe fn nothing(_: *const (), _: usize) {}
        let region = Arc::new(Region {
            door: AtomicUsize::new(0),
            next_piece: AtomicUsize::new(0),
            pieces: AtomicUsize::new(0),
            work: UnsafeCell::new(Work {
                call: nothing,
                data: std::ptr::null(),
            }),
            failed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            asleep: (0..mates).map(|_| AtomicBool::new(false)).collect(),
        });
        let mates = (0..mates)
            .map(|place| {
                let region = region.clone();
                std::thread::Builder::new()
                    .name(format!("tensor-{place}"))
                    .spawn(move || work_along(&region, place))
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        let threads = mates.iter().map(|mate| mate.thread().clone()).collect();
        Ok(Crew {
            region,
            mates,
            threads,
            turn: Mutex::new(()),
        })
    }

    /// How many threads work, the caller counted.
    pub fn threads(&self) -> usize {
        self.mates.len() + 1
    }

    /// How many of `units` equal works to take at once, each of about `size` numbers: enough that taking them costs nothing and that
    /// memory is read in long stretches, but some for everybody, and some left for who is free first.
    pub fn at_once(&self, units: usize, size: usize) -> usize {
        let fair = units / (self.threads() * TAKES);
        fair.max(WORTHWHILE / size.max(1)).clamp(1, units.max(1))
    }

    /// Calls `work` once for each of `pieces`, in any order, on any thread; returns when all are done.
    ///
    /// # Panics
    /// When `work` panicked.
    pub fn share(&self, pieces: usize, work: impl Fn(usize) + Sync) {
        if pieces <= 1 || self.mates.is_empty() {
            (0..pieces).for_each(work);
            return;
        }
        let _turn: MutexGuard<'_, ()> = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let region = &*self.region;
        // SAFETY: the door is closed and nobody is inside (the end of the last region waited for that), so nobody reads this.
        unsafe { *region.work.get() = Work::of(&work) };
        region.pieces.store(pieces, Ordering::Relaxed);
        region.next_piece.store(0, Ordering::Relaxed);
        region.failed.store(false, Ordering::Relaxed);
        // Opened with Release: whoever enters (Acquire) sees the work.
        let door = region.door.load(Ordering::Relaxed);
        region
            .door
            .store((door & !INSIDE) + NEXT + OPEN, Ordering::SeqCst);
        for (asleep, thread) in region.asleep.iter().zip(&self.threads) {
            if asleep.load(Ordering::SeqCst) && asleep.swap(false, Ordering::SeqCst) {
                thread.unpark();
            }
        }
        // Closes the door even when `work` panics here: `work` and what it borrows must outlive every thread inside.
        let closing = Closing(region);
        region.take_pieces();
        drop(closing);
        // What happened was printed by the thread itself.
        assert!(!region.failed.load(Ordering::Relaxed), "a tensor thread panicked");
    }

    /// Cuts `out` into pieces of `length` elements (the last may be shorter) and has each filled by `work`, which gets its index.
    pub fn fill<T: Send>(&self, out: &mut [T], length: usize, work: impl Fn(usize, &mut [T]) + Sync) {
        let total = out.len();
        let base = Base(out.as_mut_ptr());
        self.share(total.div_ceil(length), |piece| {
            let base = &base;
            let from = piece * length;
            let count = length.min(total - from);
            // SAFETY: pieces are disjoint parts of `out`, each index is called once, and `share` returns before `out` ends.
            work(piece, unsafe {
                std::slice::from_raw_parts_mut(base.0.add(from), count)
            });
        });
    }
}

impl Crew {
    /// As [`Crew::fill`], but in the same region `early` is made before, in pieces that end at `ends` (rising; the last is its whole
    /// length): every piece of it is taken before the first of `out`, and `work` may wait for all of them by [`Early::get`].
    pub fn fill_after<E: Send + Sync, T: Send>(
        &self,
        early: &mut [E],
        ends: &[usize],
        make: impl Fn(usize, &mut [E]) + Sync,
        out: &mut [T],
        length: usize,
        work: impl Fn(usize, &mut [T], &Early<'_, E>) + Sync,
    ) {
        let rises = ends.is_sorted() && ends.last().copied().unwrap_or(0) == early.len();
        assert!(rises, "the pieces do not fill what they are pieces of");
        let (total, early_total) = (out.len(), early.len());
        let (base, early_base) = (Base(out.as_mut_ptr()), Base(early.as_mut_ptr()));
        let left = AtomicUsize::new(ends.len());
        let failed = AtomicBool::new(false);
        let made = Early {
            base: &early_base,
            length: early_total,
            left: &left,
            failed: &failed,
        };
        self.share(ends.len() + total.div_ceil(length), |piece| {
            if let Some(end) = ends.get(piece) {
                let leaving = Leaving {
                    left: &left,
                    failed: &failed,
                };
                let from = if piece == 0 { 0 } else { ends[piece - 1] };
                let base = &early_base;
                // SAFETY: ends rise, so pieces are disjoint parts of `early`; each index is called once, `share` returns before
                // `early` ends, and nobody reads it before every one of these pieces has left.
                make(piece, unsafe {
                    std::slice::from_raw_parts_mut(base.0.add(from), end - from)
                });
                drop(leaving);
                return;
            }
            let piece = piece - ends.len();
            let base = &base;
            let from = piece * length;
            let count = length.min(total - from);
            // SAFETY: as in `fill`.
            let out = unsafe { std::slice::from_raw_parts_mut(base.0.add(from), count) };
            work(piece, out, &made);
        });
    }
}

/// What the early pieces of a region make.
pub struct Early<'a, E> {
    base: &'a Base<E>,
    length: usize,
    left: &'a AtomicUsize,
    failed: &'a AtomicBool,
}

impl<E: Sync> Early<'_, E> {
    /// Waits until it is made. Whoever asks holds a piece that was taken after all of these, so each is done or at work.
    ///
    /// # Panics
    /// When making it panicked.
    pub fn get(&self) -> &[E] {
        let mut spins = 0;
        while self.left.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins % SPINS_BEFORE_YIELD == 0 {
                std::thread::yield_now();
            } else {
                spin_loop();
            }
        }
        assert!(!self.failed.load(Ordering::Relaxed), "a tensor thread panicked");
        // SAFETY: the last piece has left (Release, Acquire above), and none comes again while this region lasts.
        unsafe { std::slice::from_raw_parts(self.base.0, self.length) }
    }
}

/// Counts an early piece down, also when it panics: those that wait must not wait for ever.
struct Leaving<'a> {
    left: &'a AtomicUsize,
    failed: &'a AtomicBool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failed.store(true, Ordering::Relaxed);
        }
        self.left.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.region.ended.store(true, Ordering::SeqCst);
        self.threads.iter().for_each(Thread::unpark);
        for mate in self.mates.drain(..) {
            let _ = mate.join();
        }
    }
}

struct Base<T>(*mut T);
// SAFETY: only disjoint parts are handed out, see `Crew::fill`.
unsafe impl<T: Send> Sync for Base<T> {}

impl Work {
    fn of<F: Fn(usize) + Sync>(work: &F) -> Work {
        // SAFETY (of the callee): `data` is the `F` that stands beside it and still lives.
        unsafe fn call<F: Fn(usize) + Sync>(data: *const (), piece: usize) {
            // SAFETY: see above.
            unsafe { (*data.cast::<F>())(piece) }
        }
        Work {
            call: call::<F>,
            data: std::ptr::from_ref(work).cast(),
        }
    }
}

impl Region {
    fn take_pieces(&self) {
        // SAFETY: the caller is inside or opened the door, so nobody writes this now.
        let work = unsafe { *self.work.get() };
        let pieces = self.pieces.load(Ordering::Relaxed);
        loop {
            let piece = self.next_piece.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                return;
            }
            // SAFETY: the closure lives until the door is closed and everybody has left.
            unsafe { (work.call)(work.data, piece) };
        }
    }

    /// Goes in when the door is open and it is not the region that was `seen` last.
    fn enter(&self, seen: &mut usize) -> bool {
        let door = self.door.load(Ordering::Acquire);
        if door & OPEN == 0 || door & !INSIDE == *seen {
            return false;
        }
        let entered = self
            .door
            .compare_exchange(door, door + 1, Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
        if entered {
            *seen = door & !INSIDE;
        }
        entered
    }
}

struct Closing<'a>(&'a Region);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        // A panic of the caller leaves pieces behind: nobody takes them any more.
        self.0.next_piece.fetch_max(usize::MAX / 2, Ordering::Relaxed);
        self.0.door.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while self.0.door.load(Ordering::Acquire) & INSIDE != 0 {
            spins += 1;
            if spins % SPINS_BEFORE_YIELD == 0 {
                std::thread::yield_now();
            } else {
                spin_loop();
            }
        }
    }
}

fn work_along(region: &Region, place: usize) {
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while !region.enter(&mut seen) {
            if region.ended.load(Ordering::Relaxed) {
                return;
            }
            spins += 1;
            if spins < SPINS {
                spin_loop();
                continue;
            }
            spins = 0;
            // Says that it sleeps before the last look: an opening that misses the flag is seen by the look.
            region.asleep[place].store(true, Ordering::SeqCst);
            let door = region.door.load(Ordering::SeqCst);
            if (door & OPEN == 0 || door & !INSIDE == seen) && !region.ended.load(Ordering::SeqCst) {
                std::thread::park();
            }
            region.asleep[place].store(false, Ordering::SeqCst);
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| region.take_pieces()));
        if done.is_err() {
            region.failed.store(true, Ordering::Relaxed);
        }
        region.door.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_filled_once_whoever_comes() {
        for threads in [1, 2, 5] {
            let crew = Crew::new(threads).unwrap();
            for round in 0..2_000 {
                let mut out = vec![0_u32; 103];
                crew.fill(&mut out, 10, |piece, part| {
                    part.iter_mut().for_each(|value| *value += piece as u32 + round);
                });
                let wanted: Vec<u32> = (0..103).map(|at| at / 10 + round).collect();
                assert_eq!(out, wanted);
            }
        }
    }

    #[test]
    fn what_is_made_early_is_whole_before_it_is_read() {
        for threads in [1, 2, 5] {
            let crew = Crew::new(threads).unwrap();
            for round in 0..1_000_u64 {
                let mut early = vec![0; 50];
                let mut out = vec![0; 64];
                let make = |piece: usize, early: &mut [u64]| early.fill(round + piece as u64);
                crew.fill_after(
                    &mut early,
                    &[3, 3, 20, 50],
                    make,
                    &mut out,
                    5,
                    |piece, out, early| {
                        let sum: u64 = early.get().iter().sum();
                        out.fill(sum + piece as u64);
                    },
                );
                let sum = 50 * round + 17 * 2 + 30 * 3;
                let wanted: Vec<u64> = (0..64).map(|at| sum + at / 5).collect();
                assert_eq!(out, wanted);
            }
        }
    }

    #[test]
    fn a_panic_in_an_early_piece_reaches_the_caller_and_those_who_wait() {
        let crew = Crew::new(3).unwrap();
        for _ in 0..20 {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let (mut early, mut out) = ([0; 4], [0; 40]);
                let make = |piece: usize, _: &mut [i32]| assert_ne!(piece, 1);
                crew.fill_after(&mut early, &[1, 2, 3, 4], make, &mut out, 2, |_, out, early| {
                    out.fill(early.get()[0]);
                });
            }));
            assert!(panicked.is_err());
        }
        let mut out = [0; 9];
        crew.fill(&mut out, 2, |_, out| out.fill(1));
        assert_eq!(out, [1; 9]);
    }

    #[test]
    fn a_panic_in_a_piece_reaches_the_caller_and_the_crew_goes_on() {
        let crew = Crew::new(3).unwrap();
        for bad in [0, 7, 63] {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                crew.share(64, |piece| assert_ne!(piece, bad));
            }));
            assert!(panicked.is_err());
        }
        let count = AtomicUsize::new(0);
        crew.share(64, |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 64);
    }
}
