// What has to be done around a fork().
#ifndef NORMKERNELS_HOST_FORK_WATCH_H_
#define NORMKERNELS_HOST_FORK_WATCH_H_

#include <pthread.h>

#include <atomic>

namespace normkernels {

class ForkWatch {
 public:
  // Of the thread that forks: `before` it, and after it in the parent and in the child. Each may be
  // null.
  using Handler = void();
  constexpr ForkWatch(Handler* before, Handler* in_parent, Handler* in_child)
      : before_(before), in_parent_(in_parent), in_child_(in_child) {}

  // Whether forks are watched, from the first time on that this is asked: not while another thread
  // is about to begin it, and not without memory. Never registered twice, nor under a lock, which a
  // child would find locked.
  bool is_on() {
    int before = kOff;
    if (state_.load() == kOff && state_.compare_exchange_strong(before, kBeginning)) {
      state_.store(pthread_atfork(before_, in_parent_, in_child_) == 0 ? kOn : kOff);
    }
    return state_.load() == kOn;
  }

 private:
  enum : int { kOff, kBeginning, kOn };
  Handler *const before_, *const in_parent_, *const in_child_;
  std::atomic<int> state_{kOff};
};

}  // namespace normkernels

#endif  // NORMKERNELS_HOST_FORK_WATCH_H_
