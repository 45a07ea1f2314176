// The backward of group norm in NCHW, a group of channels at a time: the planes of planes.h, whose
// statistics and means are those of the group.
//
// dy and x are read once for the sums, a plane after the other, and once more when dx is written,
// from the cache if a group fits.
#ifndef NORMKERNELS_NORM_GROUP_PLANES_H_
#define NORMKERNELS_NORM_GROUP_PLANES_H_

#include "norm/tiled_planes.h"

namespace normkernels::NORMKERNELS_ISA {

// A group: row `row` of all, `channels` planes from channel `channel` on. sums: of single planes of
// this image, [3, channels].
struct PlaneGroup {
  int64_t row, channel, channels;
  SumTable sums;
  ChannelSums parameters;
};

// The planes of a group: `in_place`, next to each other, or, of a group longer than a chunk that
// lies anywhere, in tiles. Which of the two is looked at once for some planes.
template <class T>
struct PlanesOfGroup {
  Planes<T> in_place;
  TiledPlanes<T>* tiles;  // or null

  void statistics(const PlanesBackward<T>& a, const PlaneGroup& group, const Factors<T>& factors,
                  const Wanted<T>& wanted, const Executor& executor) const {
    const int64_t n = group.channels * a.cols;
    if (tiles == nullptr)
      return row_statistics<T>({in_place.x.p, n}, 1, n, executor, factors, wanted);
    tiled_statistics(tiles->x, group.row, 1, n, factors, wanted);
  }

  void sums(const PlanesBackward<T>& a, const PlaneGroup& group, int64_t plane, int64_t count,
            const SharedFactors<T>& factors, const Executor& executor, SumTable to) const {
    const int64_t cols = a.cols, begin = plane * cols;
    if (tiles != nullptr && cols > kChunk) {
      return tiled_gradient_sums(tiles->dy, tiles->x, gamma_of<T>(nullptr), group.row, 1, cols,
                                 factors.table, to, begin);
    }
    Planes<T> planes = in_place.from(plane);
    if (tiles != nullptr) {
      const Part part = {group.row, 1, begin, count * cols};
      planes.dy = {tiles->dy.read(part).p, cols};
      planes.x = {tiles->x.read(part).p, cols};
    }
    plane_sums(planes, count, cols, factors, executor, to);
  }

  void write(const PlanesBackward<T>& a, const PlaneGroup& group, int64_t plane, int64_t count,
             const SharedFactors<T>& factors, const Executor& executor) const {
    const int64_t cols = a.cols, channel = group.channel + plane;
    if (tiles == nullptr) {
      return write_whole_planes(a, in_place.from(plane), count, channel, factors, executor);
    }
    for_each_chunk(group.row, 1, plane * cols, (plane + count) * cols, [&](const Part& part) {
      const Planes<T> planes = tiles->open(part).in_rows(cols);
      if (part.cols < cols) {
        write_planes(a, planes, 1, part.cols, channel, factors, executor);
      } else {
        write_whole_planes(a, planes, count, channel, factors, executor);
      }
      tiles->close(part);
    });
  }
};

// Whether one plane's factors serve all of a group: not where a plane is a lane, or for sums that
// are those of rows.
template <class T>
NORMKERNELS_INLINE bool shares_factors(int64_t cols, const Factors<T>& factors) {
  return kSumsInRegisters<T> && cols > 1 && factors[Factors<T>::kScale][0] == 1;
}

// dx of a group; its channels' sums are added to their parameters'. Threads share planes, or the
// spans of few long ones.
template <class T>
__attribute__((noinline)) void group_backward(const PlanesBackward<T>& a,
                                              const PlanesOfGroup<T>& planes,
                                              const PlaneGroup& group, const Executor& executor) {
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  double rstd[kRowsTogether];
  plane_statistics(a, group.row, 1, factors, rstd, [&](const Wanted<T>& wanted) {
    planes.statistics(a, group, factors, wanted, executor);
  });
  const SharedFactors<T> of_planes = {factors, shares_factors(a.cols, factors) ? 0 : 1};
  const int64_t lanes = of_planes.each == 0 ? 1 : kRowsTogether;
  spread_statistics(factors, 1, lanes);
  const int64_t together = a.together;
  const bool split = split_rows(group.channels, a.cols, executor);
  const Executor &across = split ? kSerial : executor, &within = split ? executor : kSerial;
  const auto for_each_some = [&](auto&& f) {
    for_each_row(parts_of(group.channels, together), across, [&](int64_t i) {
      f(i * together, smaller(together, group.channels - i * together));
    });
  };
  for_each_some([&](int64_t plane, int64_t count) {
    double sums[3 * kRowsTogether];
    planes.sums(a, group, plane, count, of_planes, within, {sums, kRowsTogether});
    for (int k = 0; k < 3; ++k)
      memcpy(group.sums[k] + plane, sums + k * kRowsTogether,
             sizeof(double) * static_cast<size_t>(count));
  });
  set_same_gradient(
      factors, lanes,
      group_gradient(group.sums, gamma_of<T>(optional_at<const T>(a.scale, group.channel)),
                     group.channels, a.cols, factors.standard(0), rstd[0], group.parameters));
  for_each_some([&](int64_t plane, int64_t count) {
    planes.write(a, group, plane, count, of_planes, within);
    if (a.stream) stream_fence();
  });
}

// Some groups of an image: its rows [first, first + count), the first of which begins with channel
// `channel`; where their channels' sums over the block are added up, and those of the image are.
struct TaskGroups {
  int64_t first, count, channel;
  ChannelSums of_block;
  SumTable of_image;

  // Groups [begin, begin + n) of them.
  NORMKERNELS_INLINE TaskGroups part(int64_t begin, int64_t n, int64_t channels) const {
    const int64_t k = begin * channels;
    return {first + begin, n, channel + k, of_block.from(k), of_image.from(k)};
  }
};

// f(number, group) for each of them.
template <class F>
NORMKERNELS_INLINE void for_each_group(const TaskGroups& some, int64_t channels, F&& f) {
  for (int64_t i = 0; i < some.count; ++i) {
    const TaskGroups one = some.part(i, 1, channels);
    f(i, PlaneGroup{one.first, one.channel, channels, one.of_image, one.of_block});
  }
}

// Groups of an image that lie next to each other.
template <class T>
NORMKERNELS_INLINE void groups_backward(const PlanesBackward<T>& a, const Planes<T>& rows,
                                        int64_t channels, const TaskGroups& some,
                                        const Executor& executor) {
  if (channels == 1) {
    return planes_backward(a, rows, some.first, some.count, some.channel, some.of_block, executor);
  }
  for_each_group(some, channels, [&](int64_t i, const PlaneGroup& group) {
    group_backward(a, {rows.from(i).in_rows(a.cols), nullptr}, group, executor);
  });
}

// Some groups of an image, a tile at a time.
template <class T>
void tiled_groups_backward(const PlanesBackward<T>& a, TiledPlanes<T>& tiles, const Grid& grid,
                           const TileShape<T>& tile, int64_t channels, const TaskGroups& all) {
  const int64_t cols = channels * a.cols;
  for (int64_t k = 0, count; k < all.count; k += count) {
    count = rows_of_tile(grid, tile, all.first + k, all.first + all.count);
    const TaskGroups some = all.part(k, count, channels);
    if (cols <= kChunk) {
      const Part part = {some.first, count, 0, cols};
      groups_backward(a, tiles.open(part), channels, some, kSerial);
      tiles.close(part);
    } else if (channels == 1) {
      long_planes_backward(a, tiles, some.first, count, some.channel, some.of_block);
    } else {
      for_each_group(some, channels, [&](int64_t, const PlaneGroup& group) {
        group_backward(a, {{}, &tiles}, group, kSerial);
      });
    }
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_GROUP_PLANES_H_
