// What a status says of itself.
#include <doctest/doctest.h>
#include <normkernels/normkernels.h>

#include <cstdint>
#include <limits>
#include <set>
#include <string>

TEST_CASE("every status has a sentence of its own") {
  const std::set<normkernels_status> kinds = {NORMKERNELS_OK,
                                              NORMKERNELS_NULL_POINTER,
                                              NORMKERNELS_BAD_EXTENT,
                                              NORMKERNELS_BAD_DTYPE,
                                              NORMKERNELS_BAD_ORDER,
                                              NORMKERNELS_BAD_EPSILON,
                                              NORMKERNELS_BAD_SIZE,
                                              NORMKERNELS_BAD_SCALAR,
                                              NORMKERNELS_OVERLAP,
                                              NORMKERNELS_BAD_EXECUTOR,
                                              NORMKERNELS_UNKNOWN_ISA,
                                              NORMKERNELS_UNSUPPORTED_ISA,
                                              NORMKERNELS_BAD_NUM_THREADS,
                                              NORMKERNELS_MISALIGNED,
                                              NORMKERNELS_BAD_AXES};
  std::set<std::string> sentences;
  for (const normkernels_status kind : kinds) {
    CAPTURE(kind);
    const std::string sentence = normkernels_status_string(kind);
    CHECK(sentences.insert(sentence).second);
    CHECK(normkernels_status_kind(kind) == kind);
    CHECK(normkernels_status_argument(kind) == 0);
    if (kind == NORMKERNELS_OK) continue;
    for (const std::int32_t position : {1, 18, 99}) {
      CHECK(sentence == normkernels_status_string(kind + position));
      CHECK(normkernels_status_kind(kind + position) == kind);
      CHECK(normkernels_status_argument(kind + position) == position);
    }
  }
}

TEST_CASE("a number that is no status is told apart from all that are") {
  const std::string none = normkernels_status_string(-1);
  CHECK(none != normkernels_status_string(NORMKERNELS_OK));
  using Limits = std::numeric_limits<normkernels_status>;
  for (const normkernels_status number :
       {Limits::min(), Limits::min() + 1, -1400, -100, -5, -1, 1, 42, 99, 12345, Limits::max()}) {
    CAPTURE(number);
    CHECK(normkernels_status_string(number) == none);
    const normkernels_status kind = normkernels_status_kind(number);
    CHECK(kind != NORMKERNELS_OK);
    CHECK(normkernels_status_string(kind) == none);
    const std::int32_t position = normkernels_status_argument(number);
    CHECK(position >= 0);
    CHECK(kind + position == number);
  }
}
