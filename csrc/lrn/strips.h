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
#ifndef NORMKERNELS_LRN_STRIPS_H_
#define NORMKERNELS_LRN_STRIPS_H_

#include "simd/extents.h"
#include "simd/loops.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

// The channels before and after one, cut to what the tensor has (further ones do not exist for any
// channel), and where channels are in memory.
struct Window {
  int64_t before, after;
  int64_t c, stride;

  NORMKERNELS_INLINE int64_t size() const { return before + after + 1; }
  NORMKERNELS_INLINE int64_t reach() const { return larger(before, after); }
};

NORMKERNELS_INLINE Window window_of(const Images& shape, int64_t size) {
  const int64_t most = shape.c - 1;
  const int64_t before = (size - 1) / 2, after = size - 1 - before;
  return {smaller(before, most), smaller(after, most), shape.c, shape.spatial};
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

// How a tensor is cut into strips, and these into pieces. Which is a matter of speed alone: every
// element's window is summed by itself.
struct Strips {
  Images shape;  // channels first
  int64_t count;
  int64_t pixels;   // of a strip; the last of an image may have fewer
  int64_t border;   // elements of zeros between strips, at least
  bool contiguous;  // whether a strip is, or else its channels are pieces
  int64_t piece;
  int64_t capacity;  // of the buffers
  bool planes;       // whether a strip goes down its channels by rows (planes.h)

  NORMKERNELS_INLINE int64_t per_image() const {
    return contiguous ? 1 : (shape.spatial + pixels - 1) / pixels;
  }
  // The number of a strip's first pixel, of all pixels of all images.
  NORMKERNELS_INLINE int64_t pixel_of(int64_t strip) const {
    return strip / per_image() * shape.spatial + strip % per_image() * pixels;
  }
};

NORMKERNELS_INLINE Strips strips_of(const Images& shape, int64_t size, int64_t bytes) {
  const Window window = window_of(shape, size);
  const int64_t reach = window.reach();
  // Of short rows a call takes longer than it saves, of few channels most rows are beyond the last.
  const bool planes =
      bytes == sizeof(float) && window.size() == 5 && shape.c >= 8 && shape.spatial >= 32;
  int64_t pixels = shape.spatial <= kPieceElements ? shape.spatial
                   : planes                        ? kPieceElements
                                                   : 512 / bytes;
  for (;;) {
    const bool contiguous = pixels == shape.spatial;
    const int64_t border = reach * pixels, all = shape.c * pixels;
    const int64_t piece = contiguous ? smaller(all, kPieceElements) : pixels;
    // The borders of a piece and all that may be between the first and the last step.
    const int64_t needed = 5 * aligned(border) + 3 * aligned(piece) + 2 * kAheadElements + 256;
    const bool fits = needed <= kBufferElements;
    if (fits || pixels <= kAlignment) {
      Strips strips = {shape, 0, pixels, border, contiguous, piece, 0, planes};
      strips.count = shape.n * strips.per_image();
      // A small tensor goes through without anything being moved: all strips, the last without the
      // border of another, and the borders of the first and last.
      const int64_t last = (all + piece - 1) / piece * piece;
      const int64_t whole =
          (strips.count - 1) * aligned(all + border) + last + 2 * aligned(border) + kSpareElements;
      const int64_t most = fits ? kBufferElements : 2 * needed;
      strips.capacity = smaller(whole, most);
      return strips;
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
  NORMKERNELS_INLINE Piece(const Strips& strips, int64_t strip)
      : offset(aligned(strips.border)), strips_(strips), strip_(strip) {
    const int64_t per_image = strips.per_image();
    image_ = strip / per_image * (strips.shape.c * strips.shape.spatial);
    column_ = strip % per_image * strips.pixels;
    begin_strip();
  }

  NORMKERNELS_INLINE int64_t strip() const { return strip_; }
  NORMKERNELS_INLINE int64_t end() const { return offset + n; }
  NORMKERNELS_INLINE int64_t strip_end() const { return strip_end_; }
  NORMKERNELS_INLINE int64_t next_strip() const { return aligned(strip_end_ + strips_.border); }
  NORMKERNELS_INLINE bool ends_strip() const { return offset + strips_.piece >= strip_end_; }
  NORMKERNELS_INLINE void slide(int64_t by) {
    offset -= by;
    strip_end_ -= by;
  }

  // The pixels of the strip.
  NORMKERNELS_INLINE int64_t pixels() const {
    return smaller(strips_.pixels, strips_.shape.spatial - column_);
  }
  NORMKERNELS_INLINE void next_whole_strip() {
    offset = next_strip();
    ++strip_;
    column_ += strips_.pixels;
    if (column_ >= strips_.shape.spatial) {
      column_ = 0;
      image_ += strips_.shape.c * strips_.shape.spatial;
    }
    begin_strip();
  }

  NORMKERNELS_INLINE void next() {
    if (ends_strip()) return next_whole_strip();
    offset += strips_.piece;
    at += strips_.contiguous ? strips_.piece : strips_.shape.spatial;
    if (strips_.contiguous && strip_end_ - offset < n) n = strip_end_ - offset;
  }

 private:
  NORMKERNELS_INLINE void begin_strip() {
    at = image_ + column_;
    strip_end_ = offset + strips_.shape.c * strips_.pixels;
    const int64_t left = strips_.shape.spatial - column_;
    n = strips_.piece < left || strips_.contiguous ? strips_.piece : left;
  }

  const Strips& strips_;
  int64_t strip_, image_, column_;
  int64_t strip_end_;
};

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

  Buffers(const Strips& strips, void* memory)
      : squares(static_cast<double*>(memory)),
        direct(reinterpret_cast<T*>(squares + strips.capacity)),
        terms(direct + strips.capacity) {}

  static uint64_t bytes(const Strips& strips) {
    return static_cast<uint64_t>(strips.capacity) * (sizeof(double) + 2 * sizeof(T));
  }
};

// What is left of a buffer from `from` to `to`, moved to its beginning.
template <class T>
NORMKERNELS_INLINE void slide_down(T* p, int64_t from, int64_t to) {
  if (to > from) memmove(p, p + from, sizeof(T) * static_cast<size_t>(to - from));
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_STRIPS_H_
