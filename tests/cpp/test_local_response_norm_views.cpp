// Local response norm of arrays with strides: the bits of the dense functions on dense copies.
#include <doctest/doctest.h>

#include <cmath>

#include "views.h"

namespace {

std::int64_t elements(const Extents& shape) {
  std::int64_t n = 1;
  for (const std::int64_t extent : shape) n *= extent;
  return n;
}

const Extents none = {0, 0, 0, 0}, once = {1, 1, 1, 1};

std::vector<Layout> image_layouts(const Extents& shape) {
  const Axes nchw = {0, 1, 2, 3}, nhwc = {0, 2, 3, 1};
  const Layout first = part_of("nchw", shape, nchw, none, once),
               last = part_of("nhwc", shape, nhwc, none, once);
  return {first,
          last,
          part_of("fortran", shape, {3, 2, 1, 0}, none, once),
          part_of("channels first of all", shape, {1, 0, 2, 3}, none, once),
          part_of("transposed positions", shape, {0, 1, 3, 2}, none, once),
          part_of("images among rows", shape, {2, 0, 3, 1}, {1, 0, 0, 0}, once),
          part_of("every other image", shape, nchw, {0, 0, 0, 0}, {2, 1, 1, 1}),
          part_of("sliced channels", shape, nchw, {0, 3, 0, 0}, once),
          part_of("sliced channels last", shape, nhwc, {0, 3, 0, 0}, once),
          part_of("cropped", shape, nchw, {0, 0, 2, 3}, once),
          part_of("cropped, channels last", shape, nhwc, {0, 0, 2, 3}, once),
          part_of("stepped", shape, nchw, {0, 0, 0, 1}, {1, 2, 1, 2}),
          part_of("stepped, channels last", shape, nhwc, {0, 1, 0, 0}, {1, 3, 2, 1}),
          reversed(first, shape, 3),
          reversed(first, shape, 1),
          reversed(last, shape, 1),
          reversed(last, shape, 0)};
}

// Those of inputs alone: some indices name one element.
std::vector<Layout> overlapping_layouts(const Extents& shape) {
  const std::int64_t n = shape[0], c = shape[1], h = shape[2], w = shape[3];
  const Layout first = part_of("nchw", shape, {0, 1, 2, 3}, none, once);
  const Layout last = part_of("nhwc", shape, {0, 2, 3, 1}, none, once);
  return {broadcast(first, 0),
          broadcast(last, 0),
          broadcast(first, 1),
          broadcast(last, 3),
          {"windows of channels", {h * w, h * w, w, 1}, 0, (n + c) * h * w},
          {"windows of pixels", {c, 1, w * c, c}, 0, (n + h * w) * c},
          {"windows of columns", {c * h * w, 1, c, c}, 0, (n * h * w + w) * c}};
}

// An array of the shape [n, c, h, w] in a layout.
template <class T>
class View {
 public:
  View(const Extents& shape, const Layout& layout)
      : shape_(shape), layout_(layout), buffer_(layout.size) {}

  const Layout& layout() const { return layout_; }
  T* data() { return buffer_.data() + layout_.start; }
  const T* data() const { return buffer_.data() + layout_.start; }

  // Of indices that name one element the last counts.
  void fill(const Guarded<T>& values) {
    for_each([&](std::size_t i, std::int64_t offset) { data()[offset] = values[i]; });
  }
  Guarded<T> dense() const {
    Guarded<T> values(elements(shape_));
    for_each([&](std::size_t i, std::int64_t offset) { values[i] = data()[offset]; });
    return values;
  }
  // That nothing but the elements has been written; they are gone then.
  bool intact() {
    for_each([&](std::size_t, std::int64_t offset) {
      data()[offset] = static_cast<T>(std::numeric_limits<nk::Computed<T>>::quiet_NaN());
    });
    return buffer_.intact() &&
           std::all_of(buffer_.data(), buffer_.data() + buffer_.size(), is_nan<T>);
  }

 private:
  // f(number in the dense array, offset) for all elements.
  template <class F>
  void for_each(F&& f) const {
    const Extents& strides = layout_.strides;
    std::size_t i = 0;
    for (std::int64_t n = 0; n < shape_[0]; ++n) {
      for (std::int64_t c = 0; c < shape_[1]; ++c) {
        for (std::int64_t h = 0; h < shape_[2]; ++h) {
          const std::int64_t offset = n * strides[0] + c * strides[1] + h * strides[2];
          for (std::int64_t w = 0; w < shape_[3]; ++w) f(i++, offset + w * strides[3]);
        }
      }
    }
  }

  const Extents shape_;
  const Layout layout_;
  Guarded<T> buffer_;
};

// A NaN is a NaN: which one an operation on two of them gives, compilers choose.
template <class T>
bool same(const Guarded<T>& a, const Guarded<T>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (is_nan(a[i]) && is_nan(b[i])) continue;
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return false;
  }
  return a.size() == b.size();
}

template <class T>
Guarded<T> workspace(const Extents& shape, normkernels_order order, std::int64_t size) {
  const std::size_t bytes = normkernels_local_response_norm_view_workspace_bytes(
      nk::dtype<T>, order, static_cast<std::int32_t>(shape.size()), shape.data(), size);
  return Guarded<T>(static_cast<std::int64_t>((bytes + sizeof(T) - 1) / sizeof(T)));
}

// What the arguments are in one of the orders: the axes of the shape.
struct Ordered {
  normkernels_order order;
  Extents shape;

  Ordered(normkernels_order which, const Extents& nchw) : order(which), shape(of(nchw)) {}
  Extents of(const Extents& nchw) const {
    if (order == NORMKERNELS_NCHW) return nchw;
    return {nchw[0], nchw[2], nchw[3], nchw[1]};
  }
  std::int32_t rank() const { return static_cast<std::int32_t>(shape.size()); }
};

template <class T>
struct Case {
  Extents shape;  // [n, c, h, w]
  Problem<T> p;
  Outputs<T> forward, backward, backward_of_saved;

  Case(const Extents& extents, const Window& window, bool ordinary)
      : shape(extents), p({nk::nchw, shape[0], shape[1], shape[2] * shape[3]}, window) {
    if (!ordinary) spoil();
    const normkernels_executor serial = nk::threads(1);
    forward = local_response_norm_forward(p, &serial);
    backward = local_response_norm_backward<T, false>(p, &serial);
    backward_of_saved = local_response_norm_backward<T, true>(p, &serial);
  }

  // Some hundred elements at most: they take long.
  void spoil() {
    using Number = nk::Computed<T>;
    using Limits = std::numeric_limits<Number>;
    const Number values[] = {Limits::max(),       Limits::infinity(), -Limits::infinity(),
                             Limits::quiet_NaN(), Number(1e30),       Number(0),
                             Number(1e-30)};
    const std::size_t step = 31 + p.x.size() / 200;
    for (std::size_t i = 0, k = 0; i < p.x.size(); i += step, ++k)
      (k % 3 == 2 ? p.dy : p.x)[i] = static_cast<T>(values[k % std::size(values)]);
  }

  void check_forward(const Ordered& to, const Layout& x_layout, const Layout& y_layout,
                     const Layout* scale_layout, std::int32_t threads) const {
    View<T> x(shape, x_layout), y(shape, y_layout);
    View<T> scale(shape, scale_layout == nullptr ? y_layout : *scale_layout);
    x.fill(p.x);
    const Window& w = p.window;
    Guarded<T> memory = workspace<T>(to.shape, to.order, w.size);
    const normkernels_executor executor = nk::threads(threads);
    REQUIRE(normkernels_local_response_norm_forward_view(
                nk::dtype<T>, to.order, to.rank(), to.shape.data(), x.data(),
                to.of(x_layout.strides).data(), w.size, w.alpha, w.beta, w.bias, y.data(),
                to.of(y_layout.strides).data(), scale_layout == nullptr ? nullptr : scale.data(),
                to.of(scale.layout().strides).data(), memory.data(), &executor) == NORMKERNELS_OK);
    CHECK(same(y.dense(), forward[0]));
    CHECK((scale_layout == nullptr || same(scale.dense(), forward[1])));
    CHECK(y.intact());
    CHECK(scale.intact());
    CHECK(memory.intact());
  }

  void check_backward(const Ordered& to, const Layout& dy_layout, const Layout& x_layout,
                      const Layout& dx_layout, bool saved, std::int32_t threads) const {
    View<T> dy(shape, dy_layout), x(shape, x_layout), dx(shape, dx_layout);
    View<T> y(shape, dx_layout), scale(shape, x_layout);
    dy.fill(p.dy);
    x.fill(p.x);
    y.fill(forward[0]);
    scale.fill(forward[1]);
    const Window& w = p.window;
    Guarded<T> memory = workspace<T>(to.shape, to.order, w.size);
    const normkernels_executor executor = nk::threads(threads);
    REQUIRE(normkernels_local_response_norm_backward_view(
                nk::dtype<T>, to.order, to.rank(), to.shape.data(), dy.data(),
                to.of(dy_layout.strides).data(), x.data(), to.of(x_layout.strides).data(),
                saved ? y.data() : nullptr, to.of(dx_layout.strides).data(),
                saved ? scale.data() : nullptr, to.of(x_layout.strides).data(), w.size, w.alpha,
                w.beta, w.bias, dx.data(), to.of(dx_layout.strides).data(), memory.data(),
                &executor) == NORMKERNELS_OK);
    CHECK(same(dx.dense(), (saved ? backward_of_saved : backward)[0]));
    CHECK(dx.intact());
    CHECK(memory.intact());
  }
};

constexpr Window windows[] = {{5, 1e-4, 0.75, 2.0}, {4, 0.5, 0.6, 1.0}, {9, -0.75, 2, 0.5}};

// Few and many channels, images of one element, tiles that end within an image and across images,
// and enough for more than one share.
const std::vector<Extents> all_shapes = {{2, 3, 5, 7},     {2, 48, 20, 23}, {1, 1, 4, 4},
                                         {5, 6, 1, 1},     {2, 17, 1, 65},  {1, 300, 3, 3},
                                         {40, 24, 14, 15}, {3, 20, 6, 9},   {1, 2, 90, 100}};

// Half types share their tiles with float, and their code with each other.
template <class T>
constexpr std::size_t kStep = nk::is_half<T> ? 4 : 1;

}  // namespace

TEST_CASE_TEMPLATE("LRN of views has the bits of LRN of dense copies", T, float, double,
                   nk::bfloat16) {
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    std::size_t turn = 0;
    for (std::size_t k = 0; k < all_shapes.size(); k += kStep<T> * kEvery) {
      const Extents& shape = all_shapes[k];
      CAPTURE(shape[1]);
      CAPTURE(shape[3]);
      const Case<T> ordinary(shape, windows[turn % std::size(windows)], true);
      const Case<T> other(shape, windows[(turn + 1) % std::size(windows)], false);
      const std::vector<Layout> all = image_layouts(shape);
      for (std::size_t i = 0; i < all.size(); ++i, ++turn) {
        CAPTURE(all[i].name);
        const Layout& next = all[turn % all.size()];
        CAPTURE(next.name);
        const Case<T>& one = turn % 2 == 0 ? ordinary : other;
        const Case<T>& two = turn % 2 == 0 ? other : ordinary;
        const Ordered first(NORMKERNELS_NCHW, shape), last(NORMKERNELS_NHWC, shape);
        one.check_forward(first, all[i], all[i], &all[i], 1);
        two.check_forward(last, all[i], all[i], nullptr, 4);
        two.check_forward(first, all[i], all[0], &next, 4);
        one.check_forward(last, all[1], all[i], &next, 1);
        two.check_backward(first, all[i], all[i], all[i], false, 1);
        one.check_backward(last, all[i], all[i], all[i], true, 4);
        one.check_backward(first, all[0], all[i], all[0], true, 4);
        two.check_backward(last, next, all[1], all[i], turn % 3 == 0, 1);
      }
    }
  }
}

TEST_CASE_TEMPLATE("LRN of inputs that overlap themselves", T, float, double, nk::bfloat16) {
  for (std::size_t k = 0; k < all_shapes.size(); k += kStep<T> * kEvery) {
    const Extents& shape = all_shapes[k];
    CAPTURE(shape[1]);
    CAPTURE(shape[3]);
    const Layout dense = part_of("dense", shape, {0, 1, 2, 3}, none, once);
    for (const Layout& layout : overlapping_layouts(shape)) {
      CAPTURE(layout.name);
      Case<T> one(shape, windows[0], true);
      View<T> x(shape, layout);
      x.fill(one.p.x);
      one.p.x = x.dense();
      one.forward = local_response_norm_forward(one.p, nullptr);
      one.backward = local_response_norm_backward<T, false>(one.p, nullptr);
      for (const normkernels_order order : {NORMKERNELS_NCHW, NORMKERNELS_NHWC}) {
        for (const std::int32_t threads : {1, 4}) {
          const Ordered to(order, shape);
          one.check_forward(to, layout, dense, &dense, threads);
          one.check_backward(to, dense, layout, dense, false, threads);
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("LRN of views of few and of many axes, and without strides", T, float, double,
                   nk::float16, nk::bfloat16) {
  const Problem<T> p({nk::nhwc, 6, 10, 24}, windows[0]);
  const Guarded<T> expected = local_response_norm_forward(p, nullptr)[0];
  const Extents shapes[] = {{144, 10}, {6, 24, 10}, {6, 2, 1, 3, 4, 1, 10}};
  for (const Extents& shape : shapes) {
    Guarded<T> y = p.tensor(), memory = workspace<T>(shape, NORMKERNELS_NHWC, p.window.size);
    CHECK(normkernels_local_response_norm_forward_view(
              nk::dtype<T>, NORMKERNELS_NHWC, static_cast<std::int32_t>(shape.size()), shape.data(),
              p.x.data(), nullptr, p.window.size, p.window.alpha, p.window.beta, p.window.bias,
              y.data(), nullptr, nullptr, nullptr, memory.data(), nullptr) == NORMKERNELS_OK);
    CHECK(y.same_bits(expected));
    CHECK(memory.intact());
  }
}

TEST_CASE("the workspace of LRN of views does not grow with the arrays") {
  const auto bytes = [](Extents shape, std::int64_t size) {
    return normkernels_local_response_norm_view_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NCHW,
                                                                4, shape.data(), size);
  };
  CHECK(bytes({256, 64, 56, 56}, 5) == bytes({2560, 64, 56, 56}, 5));
  CHECK(bytes({256, 64, 56, 56}, 5) <= 9 << 20);
  CHECK(bytes({8, 64, 56, 56}, 5) <= 7 << 20);
  CHECK(bytes({0, 64, 56, 56}, 5) == 0);
  CHECK(bytes({2, 30, 40, 1}, 59) == bytes({2, 30, 40, 1}, INT64_MAX));
}

// Images that are dense are worked on one by one. Of one that is so long no fewer tasks have a part
// than of both, and pixels that are left after whole blocks of it need more than those of both do.
TEST_CASE("the workspace of LRN of views is enough for an image by itself") {
  constexpr std::int64_t spatial = 62689, size = 33;
  for (const std::int64_t c : {9, 10, 11, 12}) {
    CAPTURE(c);
    const std::int64_t both[] = {2, spatial, c};
    CHECK(normkernels_local_response_norm_view_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NHWC, 3,
                                                               both, size) >=
          normkernels_local_response_norm_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NHWC, 1, c,
                                                          spatial, size));
  }
}
