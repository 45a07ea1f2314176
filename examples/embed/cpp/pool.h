// A thread pool of few lines, such as programs have one: run(tasks, task) calls task(i) for all i
// in [0, tasks).
#ifndef POOL_H_
#define POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { serve(); });
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
    std::unique_lock lock(mutex_);
    task_ = &task;
    tasks_ = tasks;
    next_ = 0;
    busy_ = threads_.size();
    ++round_;
    work_.notify_all();
    done_.wait(lock, [this] { return busy_ == 0; });
    total_ += tasks;
  }

  // How many tasks it has run so far.
  std::int64_t total() const { return total_; }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (std::int64_t seen = 0;;) {
      work_.wait(lock, [&] { return ending_ || round_ != seen; });
      if (ending_) return;
      seen = round_;
      lock.unlock();
      for (std::int64_t i; (i = next_++) < tasks_;) (*task_)(i);
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable work_, done_;
  const std::function<void(std::int64_t)>* task_ = nullptr;
  std::int64_t tasks_ = 0, round_ = 0, total_ = 0;
  std::atomic<std::int64_t> next_{0};
  std::size_t busy_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

#endif  // POOL_H_
