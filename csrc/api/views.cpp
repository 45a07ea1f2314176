#include "api/views.h"

#include <algorithm>

namespace normkernels {

Views::Views(Call& call, int32_t position, int32_t rank, const int64_t* shape) : call_(call) {
  elements_ = call.elements(position, rank, shape);
  if (!call.ok()) return;
  rank_ = rank;
  shape_ = shape;
  int64_t stride = 1;
  for (int i = rank; i-- > 0;) {
    dense_[i] = stride;
    if (elements_ > 0) stride *= shape[i];
  }
}

uint64_t Views::axes(int32_t position, uint64_t axes) {
  const bool within = rank_ == kMaxRank || axes >> rank_ == 0;
  call_.require(axes != 0 && within, NORMKERNELS_BAD_AXES, position);
  return axes;
}

int64_t Views::elements_of(uint64_t axes) const {
  int64_t n = 1;
  bool empty = false, fits = true;
  for (int i = 0; i < rank_; ++i) {
    if ((axes >> i & 1) == 0) continue;
    empty = empty || shape_[i] == 0;
    fits = fits && !__builtin_mul_overflow(n, shape_[i], &n);
  }
  return empty ? 0 : fits ? n : INT64_MAX;
}

const void* Views::input(int32_t position, const void* p, const int64_t* strides, Strides* to) {
  call_.view(position, p, array(position, strides, to), elements_);
  return p;
}

void* Views::output(int32_t position, void* p, const int64_t* strides, Strides* to,
                    int32_t in_place, int32_t or_in_place) {
  call_.view(position, p, array(position, strides, to), elements_, true, in_place, or_in_place);
  return p;
}

Call::View Views::array(int32_t position, const int64_t* strides, Strides* to) {
  const bool dense = strides == nullptr;
  given_[arrays_] = dense ? dense_ : strides;
  to_[arrays_] = to;
  return {dense ? position : position + 1, {0, rank_, shape_, given_[arrays_++]}};
}

Images Views::extents(int32_t position, normkernels_order order) const {
  call_.require(rank_ >= 2, NORMKERNELS_BAD_EXTENT, position);
  if (!call_.ok()) return {};
  const int channel = channel_axis(order);
  return {shape_[0], shape_[channel], elements_of(~(uint64_t{1} | uint64_t{1} << channel))};
}

// Adds an axis to the grid, or to the last one since `first` if the two are one in all arrays. The
// stride of a single element may be any number, with which nothing is to be computed.
void Views::append(const Cut& cut, bool may_join, int first, int& count) {
  const auto stride = [&](int k) { return cut.extent == 1 ? 0 : given_[k][cut.axis] * cut.step; };
  bool joins = may_join && count > first;
  for (int k = 0; joins && k < arrays_; ++k)
    joins = strides_[k][count - 1] == stride(k) * cut.extent;
  const int at = joins ? count - 1 : count++;
  extents_[at] = joins ? extents_[at] * cut.extent : cut.extent;
  for (int k = 0; k < arrays_; ++k) strides_[k][at] = stride(k);
}

// Of the axes that have been appended.
void Views::make_grid(int rows, int count) {
  grid_ = {{rows, extents_}, {count - rows, extents_ + rows}, call_.storage()};
  for (int k = 0; k < arrays_; ++k) *to_[k] = {0, 0, strides_[k], strides_[k] + rows};
}

bool Views::rows_in_one_piece(int array) const {
  const int rows = grid_.rows.count, cols = grid_.cols.count;
  Strides& strides = *to_[array];
  if (rows > 1 || cols > 1 || (cols == 1 && strides.cols[0] != 1)) return false;
  strides.row = rows == 1 ? strides.rows[0] : 0;
  return cols == 1 || rows == 0 || strides.row == 1;  // of rows of one element vectors are made
}

bool Views::planes_in_one_piece(int array) const {
  const int64_t n = grid_.rows.extents[0], c = grid_.rows.extents[1];
  const int cols = grid_.cols.count;
  Strides& strides = *to_[array];
  if (cols > 1 || (cols == 1 && strides.cols[0] != 1)) return false;
  if (n > 1 && c > 1 && strides.rows[0] != c * strides.rows[1]) return false;
  strides.row = strides.rows[c > 1 ? 1 : 0];
  return cols == 1 || n * c == 1 || strides.row == 1;
}

bool Views::pixels_in_one_piece(int array) const {
  const int64_t c = grid_.rows.extents[1];
  Strides& strides = *to_[array];
  if (grid_.cols.count > 1 || (c > 1 && strides.rows[1] != 1)) return false;
  strides.image = strides.rows[0];
  strides.row = strides.cols[0];
  return true;
}

const Grid* Views::matrix(uint64_t columns) {
  int count = 0;
  for (int i = 0; i < rank_; ++i) {
    if ((columns >> i & 1) == 0 && shape_[i] != 1) append(i, true, 0, count);
  }
  const int rows = count;
  for (int i = 0; i < rank_; ++i) {
    if ((columns >> i & 1) != 0 && shape_[i] != 1) append(i, true, rows, count);
  }
  make_grid(rows, count);
  bool plain = !call_.is_half();
  for (int k = 0; k < arrays_; ++k) plain = plain && rows_in_one_piece(k);
  return plain ? nullptr : &grid_;
}

const Grid* Views::images(normkernels_order order, int64_t groups) {
  const int channel = channel_axis(order);
  bool has_positions = false;
  for (int i = 1; i < rank_; ++i) has_positions = has_positions || (i != channel && shape_[i] != 1);
  // Planes of one element lie alike in both orders, and are rows.
  const bool pixels = order == NORMKERNELS_NHWC && has_positions;
  const int64_t rows = pixels ? shape_[channel] : groups, cols = shape_[channel] / rows;
  int count = 0;
  append(0, false, 0, count);
  append({channel, rows, cols}, false, 0, count);
  if (cols != 1) append({channel, cols, 1}, false, count, count);
  for (int i = 1; i < rank_; ++i) {
    if (i != channel && shape_[i] != 1) append(i, true, 2, count);
  }
  make_grid(2, count);
  bool plain = !call_.is_half();
  for (int k = 0; k < arrays_; ++k)
    plain = plain && (pixels ? pixels_in_one_piece(k) : planes_in_one_piece(k));
  return plain ? nullptr : &grid_;
}

int64_t Views::farthest(int axis) const {
  int64_t most = 0;
  for (int k = 0; k < arrays_; ++k) {
    const int64_t stride = given_[k][axis];
    most = std::max(most, stride < 0 ? -stride : stride);
  }
  return most;
}

const Grid* Views::pixels(normkernels_order order) {
  const int channel = channel_axis(order);
  int axes[kMaxRank] = {}, found = 0, count = 0;
  for (int i = 0; i < rank_; ++i) {
    if (i != channel && shape_[i] != 1) axes[found++] = i;
  }
  std::sort(axes, axes + found, [this](int a, int b) {
    const int64_t of_a = farthest(a), of_b = farthest(b);
    return of_a != of_b ? of_a > of_b : a < b;
  });
  if (shape_[channel] != 1) append(channel, false, 0, count);
  const int rows = count;
  for (int i = 0; i < found; ++i) append(axes[i], true, rows, count);
  make_grid(rows, count);
  return &grid_;
}

const Placement* DenseGrid::set(const Call& call, const Side& rows, const Side& cols) {
  rows_ = rows;
  cols_ = cols;
  grid_ = {{rows.count, rows_.extents}, {cols.count, cols_.extents}, call.storage()};
  at_ = {};
  at_.grid = &grid_;
  at_.dy = {0, 0, rows_.strides, cols_.strides};
  at_.x = at_.y = at_.dx = at_.residual = at_.total = at_.dy;
  at_.y_in = at_.scale_in = at_.scale = at_.dy;
  return &at_;
}

const Placement* DenseGrid::of_matrix(const Call& call, const Matrix& shape) {
  if (!call.is_half()) return nullptr;
  return set(call, {1, {shape.rows}, {shape.cols}}, {1, {shape.cols}, {1}});
}

const Placement* DenseGrid::of_images(const Call& call, normkernels_order order, const Images& s,
                                      int64_t groups) {
  if (!call.is_half()) return nullptr;
  if (order == NORMKERNELS_NHWC && s.spatial != 1)
    return set(call, {2, {s.n, s.c}, {s.c * s.spatial, 1}}, {1, {s.spatial}, {s.c}});
  const int64_t row = s.c / groups * s.spatial;
  return set(call, {2, {s.n, groups}, {s.c * s.spatial, row}}, {1, {row}, {1}});
}

const Placement* DenseGrid::of_pixels(const Call& call, normkernels_order order, const Images& s) {
  if (!call.is_half()) return nullptr;
  const bool last = order == NORMKERNELS_NHWC;
  return set(call, {1, {s.c}, {last ? 1 : s.spatial}},
             {2, {s.n, s.spatial}, {s.c * s.spatial, last ? s.c : 1}});
}

}  // namespace normkernels
