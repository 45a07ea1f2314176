// The workspace of local response norm, and the tasks that share it.
//
// It is a number of slots, each of what a task needs. A task takes the first that is free, so no
// more of them are touched, and stay in the caches, than there are threads.
#ifndef NORMKERNELS_LRN_WORKSPACE_H_
#define NORMKERNELS_LRN_WORKSPACE_H_

#include "lrn/extraordinary.h"
#include "lrn/turn.h"

namespace normkernels::NORMKERNELS_ISA {

constexpr int64_t kMaxSlots = 64;
// Tasks have at least so many elements (some microseconds' work), and at least a quarter of the
// bytes of their slot.
constexpr int64_t kTaskElements = 8192;

// How the work on a tensor is laid out. The number of threads is not known here.
template <class T>
struct WorkLayout {
  Images shape;  // channels first
  bool turned;
  Images block;  // what goes through the buffers at a time: all of it, or what is turned
  Window window;
  Strips strips;         // of a block
  uint64_t block_bytes;  // of a slot, for what is turned
  uint64_t slot_bytes;
  int64_t slots;

  WorkLayout(const Images& tensor, bool channels_last, int64_t size)
      : shape(channels_first(tensor, channels_last)),
        turned(should_turn(shape)),
        block(turned ? turned_shape(shape) : shape),
        window(window_of(block, size)),
        strips(strips_of(block, size, sizeof(T))),
        block_bytes(turned
                        ? whole_lines(static_cast<uint64_t>(kMostArrays * block.c * block.spatial) *
                                      sizeof(T))
                        : 0) {
    // Of fewer pixels more may fit into the buffers at a time, so those that are left after whole
    // blocks can need more.
    const Images rest = {1, block.c, shape.n % block.spatial};
    uint64_t buffers = Buffers<T>::bytes(strips);
    if (turned && rest.spatial > 0) {
      const uint64_t of_rest = Buffers<T>::bytes(strips_of(rest, size, sizeof(T)));
      buffers = of_rest > buffers ? of_rest : buffers;
    }
    const uint64_t lines = LastLines<T>::bytes(window);
    slot_bytes = block_bytes + whole_lines(buffers > lines ? buffers : lines);
    const uint64_t elements = static_cast<uint64_t>(shape.n * shape.c * shape.spatial);
    const uint64_t least = slot_bytes / (4 * sizeof(T));
    const uint64_t tasks = elements / (least > kTaskElements ? least : kTaskElements);
    slots = tasks < 1 ? 1 : tasks < kMaxSlots ? static_cast<int64_t>(tasks) : kMaxSlots;
    if (slots > units()) slots = units();
  }

  // What tasks are made of: strips, or blocks of pixels.
  int64_t units() const {
    return turned ? (shape.n + block.spatial - 1) / block.spatial : strips.count;
  }
  uint64_t bytes() const { return static_cast<uint64_t>(slots) * slot_bytes; }
};

// Which slots are taken.
class Slots {
 public:
  // There is always a free one: there are as many as tasks.
  int take() {
    uint64_t taken = __atomic_load_n(&taken_, __ATOMIC_RELAXED);
    for (;;) {
      const int slot = __builtin_ctzll(~taken);
      if (__atomic_compare_exchange_n(&taken_, &taken, taken | uint64_t{1} << slot, true,
                                      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return slot;
      }
    }
  }
  void give_back(int slot) {
    __atomic_fetch_and(&taken_, ~(uint64_t{1} << slot), __ATOMIC_RELEASE);
  }

 private:
  uint64_t taken_ = 0;
};

// f(first unit, last unit, memory) for all units, memory being a slot's.
template <class T, class F>
NORMKERNELS_INLINE void for_each_span(const WorkLayout<T>& layout, void* workspace,
                                      const Executor& executor, F&& f) {
  const int64_t units = layout.units(), wanted = 8 * int64_t{executor.threads};
  if (executor.threads <= 1) return f(0, units, static_cast<char*>(workspace));
  const int64_t tasks = smaller(wanted, layout.slots);
  const int64_t each = (units + tasks - 1) / tasks;
  Slots slots;
  for_each_task(executor, (units + each - 1) / each, [&](int64_t task) {
    const int64_t first = task * each;
    const int slot = slots.take();
    f(first, part_end(first, each, units),
      static_cast<char*>(workspace) + static_cast<uint64_t>(slot) * layout.slot_bytes);
    slots.give_back(slot);
  });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_WORKSPACE_H_
