// How local response norm walks through a tensor: strip by strip, each channel after channel, with
// a few buffers in L1 that hold what the windows of the next elements need.
//
// A strip is some neighbouring pixels of an image with all their channels, a matrix [c, pixels]. In
// NHWC every pixel is a strip by itself, which is the same as NCHW with images of one pixel; so
// there is one layout only. Strip after strip makes one long stream of elements, with a border of
// zeros between two for the windows that reach beyond the first or last channel. The window of an
// element is the stream's elements `pixels` apart, and vectors run along the stream.
//
// Work goes by pieces, stretches of a strip that lie next to each other in memory. Each step
// (squares, terms, output) is as many pieces ahead of the one that follows as that one's windows
// reach, so x is still in L1 when it is read again, however far apart the channels are. When the
// buffers are full, what is still needed of them moves to their beginning.
#ifndef NORMKERNELS_LRN_STREAM_H_
#define NORMKERNELS_LRN_STREAM_H_

#include "simd/loops.h"
#include "sums/wide.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// The channels before and after one, cut to what the tensor has (further ones do not exist for any
// channel), and where channels are in memory.
struct Window {
  int64_t before, after;
  int64_t c, stride;

  NORMKERNELS_INLINE int64_t size() const { return before + after + 1; }
  NORMKERNELS_INLINE int64_t reach() const { return before > after ? before : after; }
};

NORMKERNELS_INLINE Window window_of(const Images& shape, int64_t size) {
  const int64_t most = shape.c > 0 ? shape.c - 1 : 0;
  const int64_t before = (size - 1) / 2, after = size - 1 - before;
  return {before < most ? before : most, after < most ? after : most, shape.c, shape.spatial};
}

NORMKERNELS_INLINE Images channels_first(const Images& shape, bool channels_last) {
  return channels_last ? Images{shape.n * shape.spatial, shape.c, 1} : shape;
}

// Squares 32 KiB, two of float32 16 KiB each; but for some cache lines, so that an element's places
// in them are not all in the same sets.
constexpr int64_t kBufferElements = 4096 - 80;
constexpr int64_t kPieceElements = 256;
// How much further than its windows reach a step is ahead, so that a vector is not loaded from
// stores that are still on their way.
constexpr int64_t kAheadElements = 128;
constexpr int64_t kAlignment = 16;                  // elements: strips begin at vector borders
constexpr int64_t kSpareElements = 4 * kAlignment;  // vectors are stored beyond the end of a piece

NORMKERNELS_INLINE int64_t aligned(int64_t elements) {
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

// How a tensor is cut into strips and pieces. Which is a matter of speed alone: every element's
// window is summed by itself.
struct Cut {
  Images shape;  // channels first
  int64_t strips;
  int64_t pixels;   // of a strip; the last of an image may have fewer
  int64_t border;   // elements of zeros between strips, at least
  bool contiguous;  // whether a strip is, or else its channels are pieces
  int64_t piece;
  int64_t capacity;  // of the buffers

  NORMKERNELS_INLINE int64_t strips_per_image() const {
    return contiguous ? 1 : (shape.spatial + pixels - 1) / pixels;
  }
  // The number of a strip's first pixel, of all pixels of all images.
  NORMKERNELS_INLINE int64_t pixel_of(int64_t strip) const {
    return strip / strips_per_image() * shape.spatial + strip % strips_per_image() * pixels;
  }
};

// Of a tensor with elements.
NORMKERNELS_INLINE Cut cut_of(const Images& shape, int64_t size, int64_t bytes) {
  const int64_t reach = window_of(shape, size).reach();
  int64_t pixels = shape.spatial <= kPieceElements ? shape.spatial : 512 / bytes;
  for (;;) {
    const bool contiguous = pixels == shape.spatial;
    const int64_t border = reach * pixels, all = shape.c * pixels;
    const int64_t piece = !contiguous ? pixels : all < kPieceElements ? all : kPieceElements;
    // The borders of a piece and all that may be between the first and the last step.
    const int64_t needed = 5 * aligned(border) + 3 * aligned(piece) + 2 * kAheadElements + 256;
    const bool fits = needed <= kBufferElements;
    if (fits || pixels <= kAlignment) {
      Cut cut = {shape, 0, pixels, border, contiguous, piece, 0};
      cut.strips = shape.n * cut.strips_per_image();
      // A small tensor goes through without anything being moved: all strips, the last without the
      // border of another, and the borders of the first and last.
      const int64_t last = (all + piece - 1) / piece * piece;
      const int64_t whole =
          (cut.strips - 1) * aligned(all + border) + last + 2 * aligned(border) + kSpareElements;
      const int64_t most = fits ? kBufferElements : 2 * needed;
      cut.capacity = whole < most ? whole : most;
      return cut;
    }
    pixels = pixels > 2 * kAlignment ? aligned(pixels / 2) : kAlignment;
  }
}

// A piece, and the way from each to the next.
class Piece {
 public:
  int64_t offset;  // in the buffers
  int64_t at;      // in memory, in elements
  int64_t n;

  // The first of a strip.
  NORMKERNELS_INLINE Piece(const Cut& cut, int64_t strip)
      : offset(aligned(cut.border)), cut_(cut), strip_(strip) {
    const int64_t per_image = cut.strips_per_image();
    image_ = strip / per_image * (cut.shape.c * cut.shape.spatial);
    column_ = strip % per_image * cut.pixels;
    begin_strip();
  }

  NORMKERNELS_INLINE int64_t strip() const { return strip_; }
  NORMKERNELS_INLINE int64_t end() const { return offset + n; }
  NORMKERNELS_INLINE int64_t strip_end() const { return strip_end_; }
  NORMKERNELS_INLINE int64_t next_strip() const { return aligned(strip_end_ + cut_.border); }
  NORMKERNELS_INLINE bool ends_strip() const { return offset + cut_.piece >= strip_end_; }
  NORMKERNELS_INLINE void slide(int64_t by) {
    offset -= by;
    strip_end_ -= by;
  }

  NORMKERNELS_INLINE void next() {
    if (ends_strip()) {
      offset = next_strip();
      ++strip_;
      column_ += cut_.pixels;
      if (column_ >= cut_.shape.spatial) {
        column_ = 0;
        image_ += cut_.shape.c * cut_.shape.spatial;
      }
      begin_strip();
      return;
    }
    offset += cut_.piece;
    at += cut_.contiguous ? cut_.piece : cut_.shape.spatial;
    if (cut_.contiguous && strip_end_ - offset < n) n = strip_end_ - offset;
  }

 private:
  NORMKERNELS_INLINE void begin_strip() {
    at = image_ + column_;
    strip_end_ = offset + cut_.shape.c * cut_.pixels;
    const int64_t left = cut_.shape.spatial - column_;
    n = cut_.piece < left || cut_.contiguous ? cut_.piece : left;
  }

  const Cut& cut_;
  int64_t strip_, image_, column_;
  int64_t strip_end_;
};

template <class Sum, class V>
NORMKERNELS_INLINE Sum sum_of_one(V a) {
  if constexpr (sizeof(Sum) == sizeof(V)) {
    return a;
  } else {
    return accumulated(Sum{}, a);
  }
}

// The sum of `size` elements load(0), load(1), ...: the even ones and the odd ones, then both. Each
// window is added up by itself. A running sum would be cheaper by an addition, but a large value
// that leaves it would take its neighbours' digits along, and an infinite one leave NaN.
template <class Sum, class Size, class Load>
NORMKERNELS_INLINE Sum window_sum(Size size, Load&& load) {
  Sum even = sum_of_one<Sum>(load(0));
  if (size.value == 1) return even;
  Sum odd = sum_of_one<Sum>(load(1));
  for (int64_t k = 2; k < size.value; k += 2) {
    even = accumulated(even, load(k));
    if (k + 1 < size.value) odd = accumulated(odd, load(k + 1));
  }
  return even + odd;
}

struct RuntimeSize {
  int64_t value;
};

// f with the usual sizes as constants, which unrolls their loops.
template <class F>
NORMKERNELS_INLINE void with_size(int64_t size, F&& f) {
  switch (size) {
    case 3:
      return f(Index<3>{});
    case 5:
      return f(Index<5>{});
    case 7:
      return f(Index<7>{});
    case 9:
      return f(Index<9>{});
    case 11:
      return f(Index<11>{});
    default:
      return f(RuntimeSize{size});
  }
}

// Zeros in [from, to) and perhaps a vector more.
template <class T>
NORMKERNELS_INLINE void clear(T* p, int64_t from, int64_t to) {
  for (int64_t i = from; i < to; i += Vec<T>::kLanes) store(p + i, Vec<T>::zero());
}

// The buffers of a task.
template <class T>
struct Buffers {
  double* squares;
  T *direct, *terms;

  Buffers(const Cut& cut, void* memory)
      : squares(static_cast<double*>(memory)),
        direct(reinterpret_cast<T*>(squares + cut.capacity)),
        terms(direct + cut.capacity) {}

  static uint64_t bytes(const Cut& cut) {
    return static_cast<uint64_t>(cut.capacity) * (sizeof(double) + 2 * sizeof(T));
  }
};

// What is left of a buffer from `from` to `to`, moved to its beginning.
template <class T>
NORMKERNELS_INLINE void slide_down(T* p, int64_t from, int64_t to) {
  if (to > from) memmove(p, p + from, sizeof(T) * static_cast<size_t>(to - from));
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_STREAM_H_
