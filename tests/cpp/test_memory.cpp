#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cmath>
#include <utility>

#include "calls.h"

namespace {

constexpr Window window = {5, 1.0, 0.75, 1.0};

// An array of bytes that begins or ends with memory that may be neither read nor written: who does
// so ends the program.
class AtBorder {
 public:
  AtBorder(std::size_t bytes, bool at_end)
      : inner_((bytes + page - 1) / page * page),
        memory_(static_cast<unsigned char*>(
            mmap(nullptr, inner_ + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
        array_(memory_ + page + (at_end ? inner_ - bytes : 0)) {
    REQUIRE(memory_ != MAP_FAILED);
    if (inner_ > 0) REQUIRE(mprotect(memory_ + page, inner_, PROT_READ | PROT_WRITE) == 0);
  }
  AtBorder(const AtBorder&) = delete;
  AtBorder& operator=(const AtBorder&) = delete;
  ~AtBorder() { munmap(memory_, inner_ + 2 * page); }

  template <class T>
  T* array() const {
    return reinterpret_cast<T*>(array_);
  }

 private:
  static constexpr std::size_t page = 1 << 16;  // of any machine
  std::size_t inner_;
  unsigned char *memory_, *array_;
};

// All of an array and no more.
template <class T>
nk::Workspace exactly(Guarded<T>& array) {
  return {array.data(), array.size() * sizeof(T)};
}

}  // namespace

TEST_CASE_TEMPLATE("arrays need the alignment of their elements and no more", T, float, double,
                   nk::float16, nk::bfloat16) {
  for (const std::string& isa : supported_isas()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    for (const nk::Tensor& shape : shapes()) {
      CAPTURE(shape.order);
      CAPTURE(shape.c);
      CAPTURE(shape.spatial);
      const Problem<T> aligned(shape, window);
      for (const int offset : {1, 3, 7}) {
        CAPTURE(offset);
        const Problem<T> shifted(shape, window, offset);
        for (const Call<T>& call : calls<T>) {
          CAPTURE(std::string(call.name));
          check_same_bits(call, shifted, call.run(aligned, nullptr), nullptr);
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("extents of zero", T, float, double, nk::float16, nk::bfloat16) {
  for (const std::string& isa : supported_isas()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    for (const nk::Order order : {nk::nchw, nk::nhwc}) {
      const nk::Tensor empty[] = {
          {order, 0, 3, 4}, {order, 2, 0, 4}, {order, 2, 3, 0}, {order, 0, 0, 0}};
      for (const nk::Tensor& shape : empty) {
        CAPTURE(shape.n);
        CAPTURE(shape.c);
        CAPTURE(shape.spatial);
        const Problem<T> problem(shape, window);
        for (const Call<T>& call : calls<T>) {
          CAPTURE(std::string(call.name));
          for (const Guarded<T>& output : call.run(problem, nullptr)) CHECK(output.intact());
        }
        // Gradients of parameters are sums over nothing.
        const Outputs<T> layer = layer_norm_backward(problem, nullptr);
        const Outputs<T> instance = instance_norm_backward<T, true>(problem, nullptr);
        for (const Outputs<T>& outputs : {layer, instance}) {
          for (const std::size_t o : {1, 2}) {
            for (std::size_t i = 0; i < outputs[o].size(); ++i) CHECK(computed(outputs[o][i]) == 0);
          }
        }
        const Outputs<T> forward = layer_norm_forward(problem, nullptr);
        if (problem.rows().cols == 0) {
          for (std::int64_t i = 0; i < shape.n; ++i) {
            CHECK(statistic(forward[1])[i] == 0);
            CHECK(statistic(forward[2])[i] == doctest::Approx(std::sqrt(problem.epsilon)));
          }
        }
      }
    }
  }
}

TEST_CASE("arrays without elements may be NULL") {
  CHECK(normkernels_layer_norm_forward(NORMKERNELS_F32, 0, 4, nullptr, nullptr, nullptr, 1e-5,
                                       nullptr, nullptr, nullptr, nullptr) == NORMKERNELS_OK);
  CHECK(normkernels_local_response_norm_forward(NORMKERNELS_F32, NORMKERNELS_NHWC, 2, 0, 4, nullptr,
                                                5, 1, 0.75, 1, nullptr, nullptr, nullptr,
                                                nullptr) == NORMKERNELS_OK);
}

TEST_CASE_TEMPLATE("a workspace of exactly the size that was asked for", T, float, double,
                   nk::float16, nk::bfloat16) {
  for (const nk::Tensor& shape : shapes()) {
    CAPTURE(shape.order);
    CAPTURE(shape.c);
    CAPTURE(shape.spatial);
    const Problem<T> p(shape, window);
    const auto scratch = [](std::size_t bytes) {
      return Guarded<T>(static_cast<std::int64_t>((bytes + sizeof(T) - 1) / sizeof(T)));
    };
    const Outputs<T> f = layer_norm_forward(p, nullptr);
    Outputs<T> o = {p.tensor(), p.output(p.rows().cols), p.output(p.rows().cols)};
    Guarded<T> w = scratch(normkernels_layer_norm_backward_workspace_bytes(
        nk::dtype<T>, p.rows().rows, p.rows().cols));
    nk::Workspace workspace = exactly(w);
    nk::layer_norm_backward(p.matrix(p.dy), p.matrix(p.x), statistic(f[1]), statistic(f[2]),
                            p.matrix(o[0]),
                            {.gamma = p.gamma.data(),
                             .dgamma = o[1].data(),
                             .dbeta = o[2].data(),
                             .workspace = &workspace});
    CHECK(w.intact());
    CHECK(o[1].same_bits(layer_norm_backward(p, nullptr)[1]));

    w = scratch(normkernels_instance_norm_forward_workspace_bytes(nk::dtype<T>, shape.order,
                                                                  shape.n, shape.c, shape.spatial));
    Guarded<T> y = p.tensor();
    workspace = exactly(w);
    nk::instance_norm_forward(p.images(p.x), p.images(y),
                              {.order = shape.order,
                               .scale = p.gamma.data(),
                               .bias = p.beta.data(),
                               .workspace = &workspace});
    CHECK(w.intact());
    CHECK(y.same_bits(instance_norm_forward(p, nullptr)[0]));

    w = scratch(normkernels_instance_norm_backward_workspace_bytes(
        nk::dtype<T>, shape.order, shape.n, shape.c, shape.spatial));
    Guarded<T> dx = p.tensor(), dscale = p.output(shape.c), dbias = p.output(shape.c);
    workspace = exactly(w);
    nk::instance_norm_backward(p.images(p.dy), p.images(p.x), p.images(dx),
                               {.order = shape.order,
                                .scale = p.gamma.data(),
                                .dscale = dscale.data(),
                                .dbias = dbias.data(),
                                .workspace = &workspace});
    CHECK(w.intact());
    const Outputs<T> expected = instance_norm_backward<T, false>(p, nullptr);
    CHECK(dx.same_bits(expected[0]));
    CHECK(dscale.same_bits(expected[1]));
    CHECK(dbias.same_bits(expected[2]));

    const std::int64_t groups = groups_of(p);
    w = scratch(normkernels_group_norm_backward_workspace_bytes(nk::dtype<T>, shape.order, shape.n,
                                                                shape.c, shape.spatial, groups));
    workspace = exactly(w);
    nk::group_norm_backward(p.images(p.dy), p.images(p.x), p.images(dx), groups,
                            {.order = shape.order,
                             .scale = p.gamma.data(),
                             .dscale = dscale.data(),
                             .dbias = dbias.data(),
                             .workspace = &workspace});
    CHECK(w.intact());
    CHECK(dx.same_bits(group_norm_backward<T, false>(p, nullptr)[0]));
  }
}

// Also where elements out of the ordinary are gone through once more, and where many tasks share
// it.
TEST_CASE_TEMPLATE("a workspace for LRN of exactly the size that was asked for", T, float, double,
                   nk::float16, nk::bfloat16) {
  std::vector<nk::Tensor> all = shapes();
  for (const nk::Order order : {nk::nchw, nk::nhwc}) {
    all.push_back({order, 2, 40, 517});
    all.push_back({order, 300, 9, 16});
    all.push_back({order, 5, 300, 3});
  }
  // What is left after whole blocks of turned pixels, and is cut otherwise than they are.
  all.push_back({nk::nhwc, 1, 6, 228});
  // Slow kernels of half types are those of float on a grid.
  for (std::size_t k = 0; k < all.size(); k += nk::is_half<T> ? kEvery : 1) {
    const nk::Tensor& shape = all[k];
    CAPTURE(shape.order);
    CAPTURE(shape.n);
    CAPTURE(shape.c);
    CAPTURE(shape.spatial);
    for (const std::int64_t size : {5, 700}) {
      CAPTURE(size);
      for (const bool ordinary : {true, false}) {
        Problem<T> p(shape, {size, 1, 0.75, 1});
        for (std::size_t i = 0; i < p.x.size() && !ordinary; i += 77)
          p.x[i] = static_cast<T>(computed(p.x[i]) * nk::Computed<T>(1e30));
        const std::size_t bytes = normkernels_local_response_norm_workspace_bytes(
            nk::dtype<T>, shape.order, shape.n, shape.c, shape.spatial, size);
        if constexpr (nk::is_half<T>) {  // always on a grid, as views are
          const std::int64_t images[] = {shape.n, shape.c, shape.spatial};
          const std::int64_t channels_last[] = {shape.n, shape.spatial, shape.c};
          CHECK(bytes == normkernels_local_response_norm_view_workspace_bytes(
                             nk::dtype<T>, shape.order, 3,
                             shape.order == nk::nchw ? images : channels_last, size));
        } else {
          const auto channels = static_cast<std::size_t>(std::min(size, shape.c));
          CHECK(bytes <= std::max(4 * sizeof(T) * p.x.size(), 2048 * channels) + 64 * 1024);
        }
        Guarded<T> w(static_cast<std::int64_t>((bytes + sizeof(T) - 1) / sizeof(T)));
        const normkernels_executor two = nk::threads(2), serial = nk::threads(1);
        Guarded<T> y = p.tensor(), dx = p.tensor();
        nk::Workspace workspace = exactly(w);
        nk::local_response_norm_forward(
            p.images(p.x), p.images(y), size,
            {.order = shape.order, .alpha = 1, .workspace = &workspace, .executor = &two});
        nk::local_response_norm_backward(
            p.images(p.dy), p.images(p.x), p.images(dx), size,
            {.order = shape.order, .alpha = 1, .workspace = &workspace, .executor = &two});
        CHECK(w.intact());
        CHECK(y.same_bits(local_response_norm_forward(p, &serial)[0]));
        CHECK(dx.same_bits(local_response_norm_backward<T, false>(p, &serial)[0]));
      }
    }
  }
}

TEST_CASE(
    "the workspace of LRN does not grow with windows beyond all channels, and is 0 of nothing") {
  const auto bytes = [](nk::Order order, std::int64_t n, std::int64_t c, std::int64_t spatial,
                        std::int64_t size) {
    return normkernels_local_response_norm_workspace_bytes(NORMKERNELS_F32, order, n, c, spatial,
                                                           size);
  };
  constexpr std::int64_t huge = std::int64_t{1} << 40;
  for (const nk::Order order : {nk::nchw, nk::nhwc}) {
    CAPTURE(order);
    for (const std::int64_t size : {std::int64_t{5}, huge, std::int64_t{1} << 62}) {
      CHECK(bytes(order, huge, 5, 0, size) == 0);
      CHECK(bytes(order, huge, 0, 5, size) == 0);
      CHECK(bytes(order, 0, huge, 5, size) == 0);
      CHECK(bytes(order, 5, huge, 0, size) == 0);
      CHECK(bytes(order, 0, 5, huge, size) == 0);
    }
    CHECK(bytes(order, 2, 30, 40, 59) == bytes(order, 2, 30, 40, std::int64_t{1} << 62));
    CHECK(bytes(order, 2, 30, 40, INT64_MAX) == bytes(order, 2, 30, 40, 59));
  }
}

TEST_CASE_TEMPLATE("in place and without optional outputs the bits are the same", T, float, double,
                   nk::float16, nk::bfloat16) {
  for (const nk::Tensor& shape : shapes()) {
    CAPTURE(shape.order);
    CAPTURE(shape.c);
    CAPTURE(shape.spatial);
    const Problem<T> p(shape, window);
    Guarded<T> y = p.x;
    nk::layer_norm_forward(p.matrix(y), p.matrix(y),
                           {.gamma = p.gamma.data(), .beta = p.beta.data()});
    CHECK(y.same_bits(layer_norm_forward(p, nullptr)[0]));

    y = p.x;
    nk::rms_norm_forward(p.matrix(y), p.matrix(y),
                         {.gamma = p.gamma.data(), .beta = p.beta.data()});
    CHECK(y.same_bits(rms_norm_forward(p, nullptr)[0]));

    y = p.x;
    nk::instance_norm_forward(
        p.images(y), p.images(y),
        {.order = shape.order, .scale = p.gamma.data(), .bias = p.beta.data()});
    CHECK(y.same_bits(instance_norm_forward(p, nullptr)[0]));

    const Outputs<T> f = layer_norm_forward(p, nullptr), b = layer_norm_backward(p, nullptr);
    for (const bool over_x : {false, true}) {
      CAPTURE(over_x);
      Guarded<T> dx = over_x ? p.x : p.dy;
      nk::layer_norm_backward(p.matrix(over_x ? p.dy : std::as_const(dx)),
                              p.matrix(over_x ? std::as_const(dx) : p.x), statistic(f[1]),
                              statistic(f[2]), p.matrix(dx), {.gamma = p.gamma.data()});
      CHECK(dx.same_bits(b[0]));

      dx = over_x ? p.x : p.dy;
      nk::rms_norm_backward(p.matrix(over_x ? p.dy : std::as_const(dx)),
                            p.matrix(over_x ? std::as_const(dx) : p.x), p.matrix(dx),
                            {.gamma = p.gamma.data()});
      CHECK(dx.same_bits(rms_norm_backward<T, false>(p, nullptr)[0]));

      dx = over_x ? p.x : p.dy;
      nk::instance_norm_backward(p.images(over_x ? p.dy : std::as_const(dx)),
                                 p.images(over_x ? std::as_const(dx) : p.x), p.images(dx),
                                 {.order = shape.order, .scale = p.gamma.data()});
      CHECK(dx.same_bits(instance_norm_backward<T, false>(p, nullptr)[0]));
    }
    Guarded<T> dx = p.tensor(), dgamma = p.output(p.rows().cols);
    nk::layer_norm_backward(p.matrix(p.dy), p.matrix(p.x), statistic(f[1]), statistic(f[2]),
                            p.matrix(dx), {.gamma = p.gamma.data(), .dgamma = dgamma.data()});
    CHECK(dx.same_bits(b[0]));
    CHECK(dgamma.same_bits(b[1]));

    y = p.tensor();
    nk::local_response_norm_forward(
        p.images(p.x), p.images(y), window.size,
        {.order = shape.order, .alpha = window.alpha, .beta = window.beta, .bias = window.bias});
    CHECK(y.same_bits(local_response_norm_forward(p, nullptr)[0]));

    Guarded<T> x = p.x, dy = p.dy;
    nk::instance_norm_with_gradient(
        p.images(x), p.images(dy), p.images(x), p.images(dy),
        {.order = shape.order, .scale = p.gamma.data(), .bias = p.beta.data()});
    CHECK(x.same_bits(instance_norm_with_gradient(p, nullptr)[0]));
    CHECK(dy.same_bits(instance_norm_with_gradient(p, nullptr)[3]));
  }
}

TEST_CASE_TEMPLATE("in place the norms of a sum have the bits of a sum and its norm", T, float,
                   double, nk::float16, nk::bfloat16) {
  for (const nk::Tensor& shape : shapes()) {
    CAPTURE(shape.c);
    CAPTURE(shape.spatial);
    const Problem<T> p(shape, window);
    const Outputs<T> layer = add_layer_norm_forward(p, nullptr);
    const Outputs<T> rms = add_rms_norm_forward(p, nullptr);
    Problem<T> of_sum = p;
    of_sum.x = layer[0];
    CHECK(layer[1].same_bits(layer_norm_forward(of_sum, nullptr)[0]));
    of_sum.x = rms[0];
    CHECK(rms[1].same_bits(rms_norm_forward(of_sum, nullptr)[0]));
    for (std::size_t i = 0; i < p.x.size(); ++i)
      CHECK(computed(rms[0][i]) == computed(static_cast<T>(computed(p.x[i]) + computed(p.dy[i]))));

    for (const bool swapped : {false, true}) {
      CAPTURE(swapped);
      Guarded<T> x = p.x, residual = p.dy;
      Guarded<T>&total = swapped ? residual : x, &y = swapped ? x : residual;
      nk::add_layer_norm_forward(
          p.matrix(x), p.matrix(residual), p.matrix(total), p.matrix(y),
          {.bias = p.beta.data(), .gamma = p.gamma.data(), .beta = p.beta.data()});
      CHECK(total.same_bits(layer[0]));
      CHECK(y.same_bits(layer[1]));
      x = p.x, residual = p.dy;
      nk::add_rms_norm_forward(p.matrix(x), p.matrix(residual), p.matrix(total), p.matrix(y),
                               {.gamma = p.gamma.data(), .beta = p.beta.data()});
      CHECK(total.same_bits(rms[0]));
      CHECK(y.same_bits(rms[1]));
    }
  }
}

TEST_CASE_TEMPLATE("both passes at once give the bits of one after the other", T, float, double,
                   nk::float16, nk::bfloat16) {
  for (const nk::Tensor& shape : shapes()) {
    CAPTURE(shape.order);
    CAPTURE(shape.c);
    CAPTURE(shape.spatial);
    const Problem<T> p(shape, window);
    const Outputs<T> both = instance_norm_with_gradient(p, nullptr);
    const Outputs<T> forward = instance_norm_forward(p, nullptr);
    const Outputs<T> backward = instance_norm_backward<T, false>(p, nullptr);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(both[i].same_bits(forward[i]));
      CHECK(both[i + 3].same_bits(backward[i]));
    }
  }
}

TEST_CASE_TEMPLATE("nothing beside an array is read", T, float, double, nk::float16, nk::bfloat16) {
  using Number = nk::Computed<T>;
  const auto run = [](std::int64_t rows, std::int64_t cols, bool at_end, bool wide) {
    const auto size = static_cast<std::size_t>(rows * cols);
    const std::size_t line = static_cast<std::size_t>(cols) * (wide ? sizeof(Number) : sizeof(T));
    const AtBorder x(size * sizeof(T), at_end), y(size * sizeof(T), at_end);
    const AtBorder dy(size * sizeof(T), at_end), gamma(line, at_end), beta(line, at_end);
    const AtBorder mean(static_cast<std::size_t>(rows) * sizeof(Number), at_end);
    const AtBorder sigma(static_cast<std::size_t>(rows) * sizeof(Number), at_end);
    const auto in = [=](const AtBorder& a) {
      return wide ? nk::Line<const T>(a.template array<Number>())
                  : nk::Line<const T>(a.template array<T>());
    };
    const auto out = [=](const AtBorder& a) {
      return wide ? nk::Line<T>(a.template array<Number>()) : nk::Line<T>(a.template array<T>());
    };
    const auto of = [=](const AtBorder& a) { return matrix(a.template array<T>(), {rows, cols}); };
    Number* const pmean = mean.template array<Number>();
    Number* const psigma = sigma.template array<Number>();
    nk::layer_norm_forward(of(x), of(y),
                           {.gamma = in(gamma), .beta = in(beta), .mean = pmean, .sigma = psigma});
    nk::add_rms_norm_forward(of(x), of(dy), of(y), of(x),
                             {.bias = in(beta), .gamma = in(gamma), .rstd = pmean});
    // The columns of a transpose, which go to the function for views.
    const std::int64_t turned[] = {1, rows};
    nk::layer_norm_forward(nk::Array(x.template array<T>(), {rows, cols}, turned),
                           {y.template array<T>(), {rows, cols}, turned},
                           {.gamma = in(gamma), .beta = in(beta)});
    nk::layer_norm_backward(of(dy), of(x), pmean, psigma, of(y),
                            {.dgamma = out(gamma), .dbeta = out(beta)});
    for (const nk::Order order : {nk::nchw, nk::nhwc}) {
      const auto in_images = [=](const AtBorder& a) {
        return images(a.template array<T>(), {order, 1, cols, rows});
      };
      nk::instance_norm_forward(in_images(x), in_images(y),
                                {.order = order, .scale = in(gamma), .bias = in(beta)});
      nk::group_norm_backward(in_images(dy), in_images(x), in_images(y), 1,
                              {.order = order, .dscale = out(gamma), .dbias = out(beta)});
      nk::local_response_norm_forward(in_images(x), in_images(y), 5, {.order = order, .alpha = 1});
      nk::local_response_norm_backward(in_images(x), in_images(dy), in_images(y), 5,
                                       {.order = order, .alpha = 1});
    }
  };
  for (const std::string& isa : supported_isas()) {
    const ForcedIsa forced(isa);
    for (const std::int64_t rows : {1, 3, 20, 128}) {  // the last: pixels of whole tiles
      for (const std::int64_t cols : {1, 2, 3, 7, 15, 16, 17, 31, 33, 513, 1025, 4097}) {
        if (rows * cols > 100000) continue;
        for (const bool at_end : {false, true}) {
          run(rows, cols, at_end, false);
          if (nk::is_half<T>) run(rows, cols, at_end, true);
        }
      }
    }
  }
}
