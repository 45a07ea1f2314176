// Memory for the arrays of a call: blocks that lie directly against pages which may be neither read
// nor written, on the one side or the other, beside poison on that which is free. Pages see what
// the hardware touches, masked vectors included, of which AddressSanitizer knows nothing.
#ifndef NORMKERNELS_PROOF_FUZZ_C_MEMORY_H_
#define NORMKERNELS_PROOF_FUZZ_C_MEMORY_H_

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <vector>

namespace fuzz {

class Region {
 public:
  static constexpr std::size_t page = 4096, size = std::size_t{1} << 25;

  Region() {
    void* const memory = mmap(nullptr, size + 2 * page, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    begin_ = block_ = from_ = static_cast<unsigned char*>(memory) + page;
    if (mprotect(begin_, size, PROT_READ | PROT_WRITE) != 0) std::abort();
  }

  /// A block of so many bytes, which is the only one.
  unsigned char* place(std::size_t bytes, bool at_end) {
    release();
    near_ = std::min(bytes + margin, size);
    from_ = begin_ + (at_end ? size - near_ : 0);
    ASAN_POISON_MEMORY_REGION(from_, near_);
    block_ = begin_ + (at_end ? size - bytes : 0);
    bytes_ = bytes;
    ASAN_UNPOISON_MEMORY_REGION(block_, bytes_);
    return block_;
  }
  void release() {
    ASAN_UNPOISON_MEMORY_REGION(from_, near_);
    near_ = bytes_ = 0;
  }
  unsigned char* begin() const { return block_; }
  unsigned char* end() const { return block_ + bytes_; }

 private:
  static constexpr std::size_t margin = 1024;
  unsigned char *begin_, *block_, *from_;
  std::size_t bytes_ = 0, near_ = 0;
};

/// One for each parameter of a call; no function has more.
inline std::vector<Region>& regions() {
  static std::vector<Region> all(24);
  return all;
}

}  // namespace fuzz

#endif  // NORMKERNELS_PROOF_FUZZ_C_MEMORY_H_
