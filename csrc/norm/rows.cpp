// What several kernels share of rows, compiled once: the forward of layer norm, of RMS norm and of
// group norm in NCHW, and the sums of their backwards.
#include "norm/row_grid.h"

namespace normkernels::NORMKERNELS_ISA {

template void hand_out(SumTable, int64_t, int64_t, const float*, normkernels_row_moments*);
template void hand_out(SumTable, int64_t, int64_t, const double*, normkernels_row_moments*);
template void set_all_statistics(SumTable, double, int64_t, const float*, double,
                                 const Factors<float>&, float*, float*, float*, double*);
template void set_all_statistics(SumTable, double, int64_t, const double*, double,
                                 const Factors<double>&, double*, double*, double*, double*);
template void row_statistics(const Rows<const float>&, int64_t, int64_t, const Executor&,
                             const Factors<float>&, const Wanted<float>&);
template void row_statistics(const Rows<const double>&, int64_t, int64_t, const Executor&,
                             const Factors<double>&, const Wanted<double>&);
template void gradient_sums(const GradientRows<float>&, int64_t, int64_t, const Factors<float>&,
                            const Executor&, SumTable);
template void gradient_sums(const GradientRows<double>&, int64_t, int64_t, const Factors<double>&,
                            const Executor&, SumTable);
template void tiled_statistics(TiledInput<float>&, int64_t, int64_t, int64_t, const Factors<float>&,
                               const Wanted<float>&);
template void tiled_statistics(TiledInput<double>&, int64_t, int64_t, int64_t,
                               const Factors<double>&, const Wanted<double>&);
template void tiled_gradient_sums(TiledInput<float>&, TiledInput<float>&, const Parameter<float>&,
                                  int64_t, int64_t, int64_t, const Factors<float>&, SumTable,
                                  int64_t);
template void tiled_gradient_sums(TiledInput<double>&, TiledInput<double>&,
                                  const Parameter<double>&, int64_t, int64_t, int64_t,
                                  const Factors<double>&, SumTable, int64_t);
template void add_rows(const Addition<float>&, int64_t, int64_t, int64_t, int64_t);
template void add_rows(const Addition<double>&, int64_t, int64_t, int64_t, int64_t);
template void normalise_rows(RowNorm<float>&, const Executor&);
template void normalise_rows(RowNorm<double>&, const Executor&);
template void normalise_grid(const RowNorm<float>&, const Placement&, void*, const Executor&);
template void normalise_grid(const RowNorm<double>&, const Placement&, void*, const Executor&);

}  // namespace normkernels::NORMKERNELS_ISA
