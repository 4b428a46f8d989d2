//! Parallel loops of the CPU backend. Each output element is computed by one thread in a fixed order, so results do not
//! depend on the number of threads.
//!
//! The calling thread works, too, with helpers for the other cores. To hand a whole loop to a pool costs two wake-ups, and
//! the pool's idle threads then compete for the cores: a quarter of a training step of small batches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Elements below which a loop is not worth splitting across threads.
const GRAIN: usize = 16 * 1024;

/// Rounds that the calling thread looks for the others' end before it sleeps: some 20 us.
const PATIENCE: usize = 1000;

/// Threads for all cores but the caller's; none where that is the only one. As many as rayon's own, so that its settings hold.
fn helpers() -> Option<&'static ThreadPool> {
    static HELPERS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let build = || {
        // Asked on a thread of no pool: the first loop may be inside a small one of the user's.
        let threads = std::thread::spawn(rayon::current_num_threads).join().unwrap_or(1);
        let others = threads.max(1) - 1;
        let pool = ThreadPoolBuilder::new().num_threads(others).thread_name(|i| format!("tilegrad-cpu-{i}"));
        if others == 0 { None } else { pool.build().ok() }
    };
    HELPERS.get_or_init(build).as_ref()
}

/// Runs `f` on every item, on all threads; each takes the next item when it is done with one. `init` makes what a thread
/// keeps from item to item.
pub(crate) fn share<I: Iterator + Send, S>(items: I, init: impl Fn() -> S + Sync, f: impl Fn(&mut S, I::Item) + Sync) {
    let most = items.size_hint().1.unwrap_or(usize::MAX);
    let items = Mutex::new(items);
    let work = || {
        let mut kept = None;
        loop {
            let item = items.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
            let Some(item) = item else { break };
            f(kept.get_or_insert_with(&init), item);
        }
    };
    let Some(helpers) = helpers().filter(|_| most > 1) else {
        return work();
    };
    let others = helpers.current_num_threads().min(most - 1);
    let busy = AtomicUsize::new(others);
    helpers.in_place_scope(|scope| {
        for _ in 0..others {
            scope.spawn(|_| {
                work();
                busy.fetch_sub(1, Ordering::Release);
            });
        }
        work();
        // A helper must not wait for what it may have to run itself.
        let patience = if helpers.current_thread_index().is_none() { PATIENCE } else { 0 };
        for _ in 0..patience {
            if busy.load(Ordering::Acquire) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
    });
}

/// Runs `f(first_index, chunk)` over consecutive chunks of `y`, in parallel when there is enough of it. `row` is the
/// number of elements that belong together: chunks hold whole rows.
pub(crate) fn chunks<T: Send>(y: &mut [T], row: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let row = row.max(1);
    if y.len() <= GRAIN {
        return f(0, y);
    }
    let len = (GRAIN / row).max(1) * row;
    share(y.chunks_mut(len).enumerate(), || (), |(), (i, chunk)| f(i * len, chunk));
}

/// `y[i] = f(i)` in parallel.
pub(crate) fn map<T: Send>(y: &mut [T], f: impl Fn(usize) -> T + Sync) {
    chunks(y, 1, |first, chunk| {
        for (i, y) in chunk.iter_mut().enumerate() {
            *y = f(first + i);
        }
    });
}

/// Runs `f(row_index, row)` for each row of `y`, in parallel when the work (`work` operations a row) is worth it.
pub(crate) fn rows<T: Send>(y: &mut [T], row: usize, work: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if row == 0 {
        return;
    }
    let some = rows_of_a_grain(y.len() / row, work);
    share(
        y.chunks_mut(some * row).enumerate(),
        || (),
        |(), (i, y)| {
            y.chunks_mut(row).enumerate().for_each(|(j, y)| f(i * some + j, y));
        },
    );
}

/// [`rows`] of two slices in step, for ops with two outputs.
pub(crate) fn rows2<T: Send, U: Send>(
    y: &mut [T],
    z: &mut [U],
    row: usize,
    work: usize,
    f: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    if row == 0 {
        return;
    }
    let some = rows_of_a_grain(y.len() / row, work);
    share(
        y.chunks_mut(some * row).zip(z.chunks_mut(some * row)).enumerate(),
        || (),
        |(), (i, (y, z))| {
            y.chunks_mut(row).zip(z.chunks_mut(row)).enumerate().for_each(|(j, (y, z))| f(i * some + j, y, z));
        },
    );
}

/// Rows that a thread takes at a time: all of them when they are little work.
fn rows_of_a_grain(rows: usize, work: usize) -> usize {
    if rows * work <= GRAIN { rows.max(1) } else { (GRAIN / work.max(1)).max(1) }
}

/// Runs `f(first_index, parts)` over slices of one length cut at the same places, in parallel when there is enough of
/// them: for updates of several tensors in step.
pub(crate) fn together<const N: usize>(y: [&mut [f32]; N], f: &(impl Fn(usize, [&mut [f32]; N]) + Sync)) {
    let len = y[0].len();
    let mut rest = y;
    let parts = (0..len).step_by(GRAIN).map(|first| {
        let parts = rest.each_mut().map(|rest| {
            let (part, behind) = std::mem::take(rest).split_at_mut(GRAIN.min(len - first));
            *rest = behind;
            part
        });
        (first, parts)
    });
    share(parts, || (), |(), (first, parts)| f(first, parts));
}
