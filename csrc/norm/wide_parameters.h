// Kernels of float32 for arrays of a half type, which are on a grid: gamma and beta, and their
// gradients, are lines of float32 at the beginning of the workspace.
#ifndef NORMKERNELS_NORM_WIDE_PARAMETERS_H_
#define NORMKERNELS_NORM_WIDE_PARAMETERS_H_

#include "simd/half_parts.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

// Where a kernel's arguments have them, [n] each, or null: a forward has no gradients, a backward
// of rows no beta.
struct ParameterFields {
  int64_t n;
  const void **gamma, **beta, **bias;
  void **dgamma, **dbeta, **workspace;
  WideFlags* wide;

  int lines() const {
    return (gamma != nullptr) + (beta != nullptr) + (bias != nullptr) + (dgamma != nullptr) +
           (dbeta != nullptr);
  }
};
inline ParameterFields parameters_of(LayerNormForward& a) {
  return {a.shape.cols, &a.gamma, &a.beta,      a.total == nullptr ? nullptr : &a.bias,
          nullptr,      nullptr,  &a.workspace, &a.wide};
}
inline ParameterFields parameters_of(LayerNormBackward& a) {
  return {a.shape.cols, &a.gamma, nullptr, nullptr, &a.dgamma, &a.dbeta, &a.workspace, &a.wide};
}
inline ParameterFields parameters_of(GroupNormForward& a) {
  return {a.shape.c, &a.scale, &a.bias, nullptr, nullptr, nullptr, &a.workspace, &a.wide};
}
inline ParameterFields parameters_of(GroupNormBackward& a) {
  return {a.shape.c, &a.scale, &a.bias, nullptr, &a.dscale, &a.dbias, &a.workspace, &a.wide};
}

// Their lines.
class WideLines {
 public:
  WideLines(Storage storage, int64_t n, void* workspace)
      : storage_(storage), n_(n), free_(static_cast<char*>(workspace)) {}

  static size_t bytes(int64_t n, int lines) {
    return static_cast<size_t>(lines) * whole_lines(static_cast<size_t>(n) * sizeof(float));
  }

  void replace(const void** input, bool wide) {
    if (wide || input == nullptr || *input == nullptr) return;
    float* const line = next();
    widen_line(storage_, *input, n_, line);
    *input = line;
  }
  // An output, which finish() rounds.
  void replace(void** output, bool wide) {
    if (wide || output == nullptr || *output == nullptr) return;
    rounded_[count_++] = {next(), *output};
    *output = rounded_[count_ - 1].line;
  }
  void finish() const {
    for (int i = 0; i < count_; ++i) narrow_line(storage_, rounded_[i].line, n_, rounded_[i].to);
  }

 private:
  struct Rounded {
    float* line;
    void* to;
  };

  float* next() {
    float* const line = reinterpret_cast<float*>(free_);
    free_ += bytes(n_, 1);
    return line;
  }

  Storage storage_;
  int64_t n_;
  char* free_;
  Rounded rounded_[2];
  int count_ = 0;
};

template <class Arguments>
void with_wide_parameters(const Arguments& a, const Executor& executor, Kernel<Arguments> kernel) {
  Arguments wide = a;
  const ParameterFields fields = parameters_of(wide);
  WideLines lines(a.at->grid->storage, fields.n, a.workspace);
  lines.replace(fields.gamma, a.wide.gamma);
  lines.replace(fields.beta, a.wide.beta);
  lines.replace(fields.bias, a.wide.bias);
  lines.replace(fields.dgamma, a.wide.gamma);
  lines.replace(fields.dbeta, a.wide.beta);
  *fields.workspace = static_cast<char*>(a.workspace) + WideLines::bytes(fields.n, fields.lines());
  *fields.wide = {true, true, true};
  kernel(wide, executor);
  lines.finish();
}

// What stands for either half type where their sizes are all that counts.
constexpr Storage kHalf = Storage::kFloat16;

// The workspace of such a kernel, from its own: with the lines of the most parameters that it has.
template <size_t (*kWorkspace)(const Matrix&)>
size_t wide_workspace(const Matrix& shape) {
  return WideLines::bytes(shape.cols, 3) + kWorkspace(shape);
}
template <size_t (*kWorkspace)(const Matrix&, bool)>
size_t wide_workspace(const Matrix& shape, bool adds) {
  return WideLines::bytes(shape.cols, adds ? 3 : 2) + kWorkspace(shape, adds);
}
template <size_t (*kWorkspace)(const Images&, int64_t)>
size_t wide_workspace(const Images& shape, int64_t groups) {
  return WideLines::bytes(shape.c, 4) + kWorkspace(shape, groups);
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_WIDE_PARAMETERS_H_
