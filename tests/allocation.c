/* For LD_PRELOAD: makes one allocation of a call fail, or all from one on, or the start of threads,
 * and counts the blocks that are not given back. With PYTHONMALLOC=malloc those of Python are among
 * them, and NumPy's, C++'s and the binding's own always are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);
extern void __libc_free(void*);
extern void* PyObject_CallNoArgs(void*);

static _Thread_local long until; /* allocations that succeed before one fails, plus 1; 0: all do */
static _Thread_local int for_good, failed;
static atomic_long blocks;
static atomic_int threads = -1; /* that may still be started; negative: any number */

static int fails(void) {
  if (until == 0 || --until > 0) return 0;
  if (for_good) until = 1;
  failed = 1;
  errno = ENOMEM;
  return 1;
}

static void* counted(void* block) {
  if (block != NULL) ++blocks;
  return block;
}

void* malloc(size_t size) { return fails() ? NULL : counted(__libc_malloc(size)); }

void* calloc(size_t n, size_t size) { return fails() ? NULL : counted(__libc_calloc(n, size)); }

void* realloc(void* block, size_t size) {
  if (fails()) return NULL;
  void* moved = __libc_realloc(block, size);
  if (block == NULL) counted(moved);
  return moved;
}

void* aligned_alloc(size_t alignment, size_t size) {
  return fails() ? NULL : counted(__libc_memalign(alignment, size));
}

int posix_memalign(void** block, size_t alignment, size_t size) {
  *block = aligned_alloc(alignment, size);
  return *block == NULL ? ENOMEM : 0;
}

void free(void* block) {
  if (block != NULL) --blocks;
  __libc_free(block);
}

long blocks_now(void) { return blocks; }

int has_failed(void) { return failed; }

/* What callable() returns, where the n-th allocation fails, and then all if it is for good. */
void* call_failing(void* callable, long n, int stays) {
  failed = 0;
  for_good = stays;
  until = n;
  void* result = PyObject_CallNoArgs(callable);
  until = 0;
  return result;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                   void* argument) {
  int (*start)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  *(void**)&start = dlsym(RTLD_NEXT, "pthread_create");
  if (threads == 0) return EAGAIN;
  if (threads > 0) --threads;
  return start(thread, attributes, run, argument);
}

void allow_threads(int number) { threads = number; }
