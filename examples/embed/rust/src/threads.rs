//! Who runs the work of a call.

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_void;
use std::mem::size_of;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr;

use crate::error::{Error, Result};
use crate::ffi;

/// Who runs the work of a call.
#[derive(Clone, Copy, Default)]
pub enum Threads<'a> {
    /// The library's own, as many as are worth it.
    #[default]
    Automatic,
    /// The library's own, so many at most; 1 is the caller's thread alone.
    AtMost(usize),
    /// The caller's. The library then creates no thread.
    Pool(&'a dyn Pool),
}

/// Threads of the caller's that run the tasks of a call.
///
/// # Safety
///
/// `run` calls `task(i)` for every i in `0..tasks`, never twice for one of them, and returns, also by a panic, when no
/// thread calls it any more.
pub unsafe trait Pool {
    /// How many threads it has; 0 if it does not say.
    fn num_threads(&self) -> usize {
        0
    }

    /// Runs the tasks, in any order and on any threads. A panic ends the call and is carried on from there; its
    /// outputs are then of any values.
    fn run(&self, tasks: i64, task: &(dyn Fn(i64) + Sync));
}

/// The default number of threads: what [`set_num_threads`] said, else what the environment and the system say; 0 if the
/// variable NORMKERNELS_NUM_THREADS is no number, which every function then says.
pub fn num_threads() -> usize {
    // SAFETY: takes nothing.
    unsafe { ffi::normkernels_num_threads() as usize }
}

/// Sets that default; 0 returns to the automatic one.
pub fn set_num_threads(num_threads: usize) -> Result<()> {
    // SAFETY: takes any number.
    match unsafe { ffi::normkernels_set_num_threads(count(num_threads)) } {
        0 => Ok(()),
        status => Err(Error::of_status("set_num_threads", "num_threads", status)),
    }
}

fn count(threads: usize) -> i32 {
    i32::try_from(threads).unwrap_or(i32::MAX)
}

struct Running<'a> {
    pool: &'a dyn Pool,
    panic: Cell<Option<Box<dyn Any + Send>>>,
}

// The argument of the library's tasks, which they share by its design.
struct Argument(*mut c_void);
// SAFETY: the library expects its tasks to run on any threads.
unsafe impl Sync for Argument {}

impl Argument {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

unsafe extern "C" fn run(context: *mut c_void, tasks: i64, task: ffi::Task, argument: *mut c_void) {
    // SAFETY: the context is that of `with_executor`, whose frame waits for the call.
    let running = unsafe { &*context.cast::<Running<'_>>() };
    let argument = Argument(argument);
    // SAFETY: what a Pool promises is what the library asks of an executor.
    let each = |index| unsafe { task(argument.get(), index) };
    // No panic may cross C.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| running.pool.run(tasks, &each))) {
        running.panic.set(Some(panic));
    }
}

/// Calls a C function with the executor that `threads` are.
pub(crate) fn with_executor(
    threads: Threads<'_>,
    function: impl FnOnce(*const ffi::Executor) -> i32,
) -> i32 {
    let mut executor = ffi::Executor {
        struct_size: size_of::<ffi::Executor>() as u32,
        num_threads: 0,
        run: None,
        context: ptr::null_mut(),
    };
    match threads {
        Threads::Automatic => function(ptr::null()),
        Threads::AtMost(threads) => {
            executor.num_threads = count(threads);
            function(&executor)
        }
        Threads::Pool(pool) => {
            let running = Running { pool, panic: Cell::new(None) };
            executor.num_threads = count(pool.num_threads());
            executor.run = Some(run);
            executor.context = ptr::addr_of!(running) as *mut c_void;
            let status = function(&executor);
            if let Some(panic) = running.panic.take() {
                resume_unwind(panic);
            }
            status
        }
    }
}
