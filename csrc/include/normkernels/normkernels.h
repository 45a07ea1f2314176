/* normkernels: layer, RMS, group, instance and local response norm for the CPU.
 *
 * This header is the manual of the C interface. C99; nothing but stdint.h and stddef.h.
 *
 *     #include <normkernels/normkernels.h>
 *
 *     float x[2][4] = {{1, 2, 3, 4}, {40000, 40001, 40002, 40003}}, y[2][4];
 *     normkernels_status status = normkernels_layer_norm_forward(
 *         NORMKERNELS_F32, 2, 4, x, NULL, NULL, 1e-5, y, NULL, NULL, NULL);
 *
 * What is in it, in this order: version, status, element types and layouts, threads, instruction
 * sets; layer norm and moments, RMS, instance, group and local response norm of dense arrays; the
 * same of arrays with strides, under "Views". So much is stable: what has been in a version stays
 * in those after it that are compatible (until 1.0 those of one minor version). Last, and
 * experimental, the steps that the originals are made of. "Since" says which version brought a
 * function.
 *
 * What holds for every function
 *
 * - Arrays are dense and row-major, and their elements have the type that `dtype` names. Each
 *   pointer is aligned to its element, or it is refused; nothing more is asked of it. The functions
 *   under "Views" take arrays with strides.
 * - Extents are int64_t and may be 0. A call without elements returns at once, however large its
 *   other extents: it looks at no array that has none, and writes 0 to the gradients of parameters
 *   and to statistics what their entries say.
 * - Optional pointers are marked "or NULL". An input that is NULL acts as its neutral value
 *   (gamma 1, beta 0); an output that is NULL is not computed.
 * - Aliasing: an output may be the very same array as an input only where its entry says so. Any
 *   other overlap of an output with another argument is refused.
 * - Memory: the library allocates nothing. Where a function takes `workspace`, the matching
 *   `..._workspace_bytes` says how large that must be (for the same arguments; 0: NULL will do),
 *   aligned to 64 bytes, or it is refused.
 * - Errors: arguments are checked before anything is written. The returned status is
 *   NORMKERNELS_OK or names the kind of the error and the argument. Nothing prints, aborts,
 *   throws, exits or sets errno. Every operator, which is what takes an executor, may return
 *   NULL_POINTER, BAD_EXTENT, BAD_DTYPE, OVERLAP, MISALIGNED and BAD_EXECUTOR and, where the
 *   environment or the machine is at fault, UNKNOWN_ISA, UNSUPPORTED_ISA and BAD_NUM_THREADS; which
 *   others, "Statuses" says.
 * - Threads: `executor` says who runs the work; NULL is the library's own threads, as many as are
 *   worth it. A function may be called from any number of threads at once.
 * - Caches: an output larger than a quarter of the last-level cache or than 8 MiB, and not in the
 *   place of an input, may be written past the caches; the environment variable
 *   NORMKERNELS_STREAM_BYTES is another limit.
 * - Bits: for the same arguments the output bits do not depend on the number of threads, on
 *   alignment, on the other rows or images of the batch, or on which instruction set with fma
 *   runs it.
 */
#ifndef NORMKERNELS_NORMKERNELS_H_
#define NORMKERNELS_NORMKERNELS_H_

#include <stddef.h>
#include <stdint.h>

/* The header is for any compiler of C or C++; what the library itself is built with is GCC or
 * Clang. */
#if defined(__GNUC__) && !defined(_WIN32)
#define NORMKERNELS_API __attribute__((visibility("default")))
#else
#define NORMKERNELS_API
#endif

#define NORMKERNELS_VERSION_MAJOR 0
#define NORMKERNELS_VERSION_MINOR 1
#define NORMKERNELS_VERSION_PATCH 0
/* "" of a release, ".devN" of what is to become it: older, as Python orders versions. CMake and
 * pkg-config compare the numbers alone. */
#define NORMKERNELS_VERSION_SUFFIX ".dev0"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ------------------------------------------------------------------------ */

/** "MAJOR.MINOR.PATCH" and the suffix of the library that is running, which may be newer than this
 * header. Never NULL. Since 0.1. */
NORMKERNELS_API const char* normkernels_version(void);

/* ---- Status ------------------------------------------------------------------------- */

/** 0, or `kind + position`: one of the kinds below plus the position (from 1) of the argument that
 * is at fault in the parameter list of the function that returned it; position 0 where no single
 * argument is. */
typedef int32_t normkernels_status;

enum {
  NORMKERNELS_OK = 0,
  NORMKERNELS_NULL_POINTER = 100, /* a required pointer is NULL */
  NORMKERNELS_BAD_EXTENT = 200,   /* an extent is negative, or an array would not fit in memory */
  NORMKERNELS_BAD_DTYPE = 300,    /* none that the function takes */
  NORMKERNELS_BAD_ORDER = 400,    /* not one of NORMKERNELS_NCHW, NORMKERNELS_NHWC */
  NORMKERNELS_BAD_EPSILON = 500,  /* negative, NaN or infinite */
  NORMKERNELS_BAD_SIZE =
      600, /* a window of less than one channel, groups that do not divide them */
  NORMKERNELS_BAD_SCALAR = 700, /* NaN or infinite */
  NORMKERNELS_OVERLAP = 800,    /* an output shares memory with another argument, or with itself */
  NORMKERNELS_BAD_EXECUTOR = 900,     /* wrong struct_size, or a negative number of threads */
  NORMKERNELS_UNKNOWN_ISA = 1000,     /* no instruction set of that name */
  NORMKERNELS_UNSUPPORTED_ISA = 1100, /* known, but this machine does not have it */
  NORMKERNELS_BAD_NUM_THREADS = 1200, /* the variable NORMKERNELS_NUM_THREADS is not a number */
  NORMKERNELS_MISALIGNED = 1300, /* an array not aligned to its elements, a workspace to 64 bytes */
  NORMKERNELS_BAD_AXES = 1400    /* no axis at all, or one that the array does not have */
};

/** One sentence that says what the kind of `status` means, whatever its position; of a number that
 * is no status, that it is none. Never NULL. Since 0.1. */
NORMKERNELS_API const char* normkernels_status_string(normkernels_status status);

/** The position of the argument at fault, counted from 1 in the C parameter list; 0 if none. */
static inline int32_t normkernels_status_argument(normkernels_status status) {
  return status < 100 ? 0 : status % 100;
}

/** The kind: one of the constants above. A number that is no status has none of them. */
static inline normkernels_status normkernels_status_kind(normkernels_status status) {
  return status - normkernels_status_argument(status);
}

/* ---- Element types and layouts ------------------------------------------------------ */

/** The type of x, y, dy and dx. Everything else has it, too, but of a half type (IEEE binary16,
 * bfloat16), which is what is read and written, not what is computed in:
 *
 * - statistics (mean, sigma, inv_std) are float32;
 * - gamma (or scale) and its gradient are of x's type, or float32 where NORMKERNELS_F32_GAMMA is
 *   or-ed to the type; beta (or instance norm's bias) and its gradient likewise with
 *   NORMKERNELS_F32_BETA, and what is added before it is normalised with NORMKERNELS_F32_BIAS;
 * - a result is that of float32, for the same numbers, rounded once to the nearest, ties to even;
 * - where a function takes a workspace it always needs one, as large as that of its view;
 * - the steps of the originals have float32 and float64 only.
 *
 * With NORMKERNELS_F32 the flags change nothing, with NORMKERNELS_F64 they are refused. */
typedef int32_t normkernels_dtype;
enum {
  NORMKERNELS_F32 = 1,
  NORMKERNELS_F64 = 2,
  NORMKERNELS_F16 = 3,
  NORMKERNELS_BF16 = 4,
  NORMKERNELS_F32_GAMMA = 0x100,
  NORMKERNELS_F32_BETA = 0x200,
  NORMKERNELS_F32_BIAS = 0x400
};

/** Where the channels are: NCHW is [n, c, spatial], NHWC is [n, spatial, c]. The spatial
 * dimensions, however many, enter as one extent, their product; a tensor of rank 2 (N, C) has
 * spatial = 1. */
typedef int32_t normkernels_order;
enum { NORMKERNELS_NCHW = 1, NORMKERNELS_NHWC = 2 };

/* ---- Threads ------------------------------------------------------------------------ */

/** Who runs the work.
 *
 * Without `run`, the library's own threads. They are started when a call is first worth them, wait
 * asleep, and end with the process. One call at a time has them; the caller's thread takes part,
 * and does the whole work where no other can be started, while they are another call's, and in a
 * call from inside a task. A child of fork() starts its own. Once there are threads, dlclose()
 * leaves the library loaded.
 *
 * With `run`, the caller's: it must call task(argument, i) once for every i in [0, tasks), in any
 * order and on any threads, and return when all are done; the library then creates no thread.
 *
 * On whichever thread, a task has the floating-point environment of the call (rounding, denormals
 * flushed or not). */
typedef struct normkernels_executor {
  uint32_t struct_size; /* sizeof(normkernels_executor) */
  int32_t num_threads;  /* how many to use at most; 0: the default; over 1024 count as 1024 */
  void (*run)(void* context, int64_t tasks, void (*task)(void* argument, int64_t index),
              void* argument);
  void* context;
} normkernels_executor;

/** The default number of threads, from 1 to 1024: what normkernels_set_num_threads said, else the
 * environment variable NORMKERNELS_NUM_THREADS (empty or 0: as if it were not there), else
 * OMP_NUM_THREADS (the first of a list), else the processors that affinity and the quotas of the
 * process's cgroups leave to it. Unless it is our own setting: never more than OMP_THREAD_LIMIT,
 * and than a GNU OpenMP runtime in the process would use (omp_set_num_threads,
 * torch.set_num_threads).
 *
 * Environment, affinity and quota are read once, the latter two again in a child of fork(). A call
 * uses fewer threads where its work is not worth them, and while other calls are under way. Returns
 * 0 if NORMKERNELS_NUM_THREADS is not a number of 0 and more; every operator that would use the
 * default then returns BAD_NUM_THREADS. Since 0.1. */
NORMKERNELS_API int32_t normkernels_num_threads(void);

/** Sets that default; 0 returns to the automatic one, more than 1024 count as 1024. BAD_EXECUTOR +
 * 1 if negative. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_set_num_threads(int32_t num_threads);

/* ---- Instruction sets --------------------------------------------------------------- */

/** The instruction sets that this build holds kernels for are numbered from 0 to count - 1, worst
 * first. Since 0.1. */
NORMKERNELS_API int32_t normkernels_isa_count(void);

/** Its name ("baseline", "avx2", "avx512", "neon", "emulated_wide"); NULL if `index` is out of
 * range. Since 0.1. */
NORMKERNELS_API const char* normkernels_isa_name(int32_t index);

/** 1 if this machine can run it, else 0. Since 0.1. */
NORMKERNELS_API int32_t normkernels_isa_supported(int32_t index);

/** The index of the one in use: what was forced, else what the environment variable NORMKERNELS_ISA
 * names, else the best that the machine has. -1 if the environment names one that cannot be used,
 * or the machine has none of this build's; every operator then returns UNKNOWN_ISA or
 * UNSUPPORTED_ISA. Since 0.1. */
NORMKERNELS_API int32_t normkernels_isa_active(void);

/** Uses the one of that name from now on, in every thread; NULL returns to the automatic choice.
 * The psABI names "x86_64_v3" and "x86_64_v4" are accepted for "avx2" and "avx512". UNKNOWN_ISA + 1
 * or UNSUPPORTED_ISA + 1 leave the choice as it was. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_isa_force(const char* name);

/* ---- Layer norm --------------------------------------------------------------------- */

/** Layer norm. For every row i:
 *
 *      y[i,j] = (x[i,j] - mean[i]) / sigma[i] * gamma[j] + beta[j],
 *      mean[i] = sum_j x[i,j] / cols,  sigma[i] = sqrt(sum_j (x[i,j] - mean[i])^2 / cols + epsilon)
 *
 *  x      [rows, cols]
 *  gamma  [cols] or NULL        beta   [cols] or NULL
 *  y      [rows, cols]; may be x
 *  mean   [rows] or NULL        sigma  [rows] or NULL
 *
 *  A constant row gives exactly beta, also with epsilon 0. With cols = 0, mean is 0 and sigma
 *  sqrt(epsilon).
 *
 *  Statuses: those of every operator; BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status
normkernels_layer_norm_forward(normkernels_dtype dtype, int64_t rows, int64_t cols, const void* x,
                               const void* gamma, const void* beta, double epsilon, void* y,
                               void* mean, void* sigma, const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_layer_norm_backward, for the same arguments: 0 for few
 *  rows, but of half types. Since 0.1. */
NORMKERNELS_API size_t normkernels_layer_norm_backward_workspace_bytes(normkernels_dtype dtype,
                                                                       int64_t rows, int64_t cols);

/** Gradients of layer norm, with xhat = (x - mean) / sigma and g = dy * gamma:
 *
 *      dx[i,j] = (g[i,j] - mean_j(g[i,:]) - xhat[i,j] * mean_j(g[i,:] * xhat[i,:])) / sigma[i]
 *      dgamma[j] = sum_i dy[i,j] * xhat[i,j],   dbeta[j] = sum_i dy[i,j]
 *
 *  dy, x        [rows, cols]
 *  mean, sigma  [rows], as the forward returned them
 *  gamma        [cols] or NULL
 *  dx           [rows, cols]; may be dy or x
 *  dgamma       [cols] or NULL        dbeta  [cols] or NULL
 *  workspace    only if dgamma or dbeta is asked for; of half types always
 *
 *  A saved mean is rounded, which at a large offset is many ulp of x - mean: that error is found
 *  (it is the mean of x - mean) and taken out. A mean that is further from the rows' own than
 *  rounding can explain is used as it is.
 *
 *  Where sigma is 0 (constant row, epsilon 0) no gradient exists; xhat and dx are taken as 0.
 *
 *  Statuses: those of every operator. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_layer_norm_backward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* dy, const void* x,
    const void* mean, const void* sigma, const void* gamma, void* dx, void* dgamma, void* dbeta,
    void* workspace, const normkernels_executor* executor);

/* ---- Moments ------------------------------------------------------------------------ */

/** The moments of scale * x over a row of `count` elements, in about twice the precision of x: the
 * mean is mean + mean_low, the sum of the squared deviations from it m2 + m2_low.
 *
 * `scale` is a power of two: 1, but for rows of float64 whose squares would leave its range. m2_low
 * is 0 where x is float32 or of a half type. Layer norm of the row is, for any x of it,
 *
 *      ((scale * x - mean) - mean_low) / sqrt((m2 + m2_low) / count + epsilon * scale^2)
 *
 * A row with a NaN or an infinite element has NaN for mean and m2. One without elements has count
 * 0, scale 1 and else 0, and is neutral where moments are merged. */
typedef struct normkernels_row_moments {
  int64_t count;
  double scale, mean, mean_low, m2, m2_low;
} normkernels_row_moments;

/** The moments of every row, as layer norm forms them, for data that comes in parts: those of a
 * row's parts are merged by normkernels_merge_moments. A row that is longer than a thread's share
 * of the work is shared by the threads.
 *
 *  x        [rows, cols]
 *  moments  [rows]
 *
 *  Statuses: those of every operator. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_moments(normkernels_dtype dtype, int64_t rows,
                                                       int64_t cols, const void* x,
                                                       normkernels_row_moments* moments,
                                                       const normkernels_executor* executor);

/** out[i] = the moments of a row whose parts have a[i] and b[i]. With delta = b.mean - a.mean:
 *
 *      count = a.count + b.count,  mean = a.mean + delta * b.count / count,
 *      m2 = a.m2 + b.m2 + delta^2 * a.count * b.count / count
 *
 * in pairs of float64, at the smaller of the two scales, or at a smaller one where m2 would leave
 * float64's range. Some 2^-100 of the larger mean is lost by it, in whatever order parts are
 * merged; the last digits depend on that order. Counts are 0 or more, and their sum is an int64_t.
 *
 *  a, b  [n]
 *  out   [n]; may be a or b
 *
 *  Statuses: NULL_POINTER, BAD_EXTENT, OVERLAP, MISALIGNED, UNKNOWN_ISA, UNSUPPORTED_ISA. Runs on
 *  the caller's thread. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_merge_moments(int64_t n,
                                                             const normkernels_row_moments* a,
                                                             const normkernels_row_moments* b,
                                                             normkernels_row_moments* out);

/* ---- RMS norm ----------------------------------------------------------------------- */

/** RMS norm, which is layer norm without the mean. For every row i:
 *
 *      y[i,j] = x[i,j] * rstd[i] * gamma[j] + beta[j],
 *      rstd[i] = 1 / sqrt(sum_j x[i,j]^2 / cols + epsilon)
 *
 *  x      [rows, cols]
 *  gamma  [cols] or NULL        beta  [cols] or NULL
 *  y      [rows, cols]; may be x
 *  rstd   [rows] or NULL
 *
 *  A row of zeros gives exactly beta, also with epsilon 0 (rstd is then infinite); one with an
 *  infinite element NaN. With cols = 0, rstd is 1 / sqrt(epsilon).
 *
 *  Statuses: those of every operator; BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_rms_norm_forward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* x, const void* gamma,
    const void* beta, double epsilon, void* y, void* rstd, const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_rms_norm_backward, for the same arguments: 0 for few
 *  rows, but of half types. Since 0.1. */
NORMKERNELS_API size_t normkernels_rms_norm_backward_workspace_bytes(normkernels_dtype dtype,
                                                                     int64_t rows, int64_t cols);

/** Gradients of RMS norm, with xhat = x * rstd and g = dy * gamma:
 *
 *      dx[i,j] = (g[i,j] - xhat[i,j] * mean_j(g[i,:] * xhat[i,:])) * rstd[i]
 *      dgamma[j] = sum_i dy[i,j] * xhat[i,j],   dbeta[j] = sum_i dy[i,j]
 *
 *  dy, x      [rows, cols]
 *  rstd       [rows] or NULL: as the forward returned it, or recomputed from x
 *  gamma      [cols] or NULL
 *  epsilon    read only when rstd is NULL
 *  dx         [rows, cols]; may be dy or x
 *  dgamma     [cols] or NULL        dbeta  [cols] or NULL
 *  workspace  only if dgamma or dbeta is asked for; of half types always
 *
 *  Where rstd is infinite (row of zeros, epsilon 0) no gradient exists; xhat and dx are taken as
 *  0.
 *
 *  Statuses: those of every operator; BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_rms_norm_backward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* dy, const void* x,
    const void* rstd, const void* gamma, double epsilon, void* dx, void* dgamma, void* dbeta,
    void* workspace, const normkernels_executor* executor);

/* ---- Norms of a sum ----------------------------------------------------------------- */

/** Layer norm of the sum of a residual connection, in one pass over memory:
 *
 *      total[i,j] = x[i,j] + residual[i,j] + bias[j]
 *      y, mean, sigma = normkernels_layer_norm_forward of total, bit for bit
 *
 *  total is rounded once; of float64, from a sum of twice its precision where there is a bias.
 *
 *  x, residual  [rows, cols]
 *  bias         [cols] or NULL
 *  gamma        [cols] or NULL        beta   [cols] or NULL
 *  total        [rows, cols]; may be x or residual
 *  y            [rows, cols]; may be x or residual
 *  mean         [rows] or NULL        sigma  [rows] or NULL
 *
 *  The gradient is that of layer norm at total: its dx is the gradient of x and of residual, to
 *  which what reached total on other ways is added, and summed over the rows that of bias.
 *
 *  Statuses: those of every operator; BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_add_layer_norm_forward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* x, const void* residual,
    const void* bias, const void* gamma, const void* beta, double epsilon, void* total, void* y,
    void* mean, void* sigma, const normkernels_executor* executor);

/** The same of RMS norm.
 *
 *  x, residual  [rows, cols]
 *  bias         [cols] or NULL
 *  gamma        [cols] or NULL        beta   [cols] or NULL
 *  total        [rows, cols]; may be x or residual
 *  y            [rows, cols]; may be x or residual
 *  rstd         [rows] or NULL
 *
 *  Statuses: those of every operator; BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_add_rms_norm_forward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* x, const void* residual,
    const void* bias, const void* gamma, const void* beta, double epsilon, void* total, void* y,
    void* rstd, const normkernels_executor* executor);

/* ---- Instance norm ------------------------------------------------------------------ */

/** The bytes of the workspace of normkernels_instance_norm_forward, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_instance_norm_forward_workspace_bytes(normkernels_dtype dtype,
                                                                         normkernels_order order,
                                                                         int64_t n, int64_t c,
                                                                         int64_t spatial);

/** Instance norm. For every image i and channel k, over the spatial positions p:
 *
 *      y[i,k,p] = (x[i,k,p] - mean[i,k]) * inv_std[i,k] * scale[k] + bias[k],
 *      mean[i,k] = sum_p x[i,k,p] / spatial,
 *      inv_std[i,k] = 1 / sqrt(sum_p (x[i,k,p] - mean[i,k])^2 / spatial + epsilon)
 *
 *  x        [n, c, spatial] or [n, spatial, c], as `order` says
 *  scale    [c] or NULL         bias     [c] or NULL
 *  y        as x; may be x
 *  mean     [n, c] or NULL      inv_std  [n, c] or NULL
 *
 *  A constant plane gives exactly bias, also with epsilon 0 (inv_std is then infinite). With
 *  spatial = 0, mean is 0 and inv_std 1 / sqrt(epsilon).
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_forward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* x, const void* scale, const void* bias, double epsilon, void* y, void* mean,
    void* inv_std, void* workspace, const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_instance_norm_backward, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_instance_norm_backward_workspace_bytes(normkernels_dtype dtype,
                                                                          normkernels_order order,
                                                                          int64_t n, int64_t c,
                                                                          int64_t spatial);

/** Gradients of instance norm, with xhat = (x - mean) * inv_std and means over the spatial
 * positions:
 *
 *      dx[i,k,p] = scale[k] * inv_std[i,k]
 *                  * (dy[i,k,p] - mean(dy[i,k,:]) - xhat[i,k,p] * mean(dy[i,k,:] * xhat[i,k,:]))
 *      dscale[k] = sum_{i,p} dy[i,k,p] * xhat[i,k,p],   dbias[k] = sum_{i,p} dy[i,k,p]
 *
 *  dy, x          as `order` says
 *  scale          [c] or NULL
 *  mean, inv_std  [n, c] as the forward returned them, or both NULL: recomputed from x
 *  epsilon        read only when they are NULL
 *  dx             as x; may be dy or x
 *  dscale         [c] or NULL         dbias  [c] or NULL
 *
 *  Where inv_std is infinite (constant plane, epsilon 0) no gradient exists; xhat and dx are
 *  taken as 0.
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_backward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, const void* scale, const void* mean, const void* inv_std,
    double epsilon, void* dx, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor);

/** Forward and backward at once, for a dy that is known before y: the same bits as
 * instance_norm_forward followed by instance_norm_backward without saved statistics, but the
 * statistics are computed once.
 *
 *  Arguments as in those two; y may be x, and dx may be dy. The workspace is that of the backward.
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_with_gradient(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* x, const void* scale, const void* bias, const void* dy, double epsilon, void* y,
    void* mean, void* inv_std, void* dx, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor);

/* ---- Group norm --------------------------------------------------------------------- */

/** The bytes of the workspace of normkernels_group_norm_forward, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_group_norm_forward_workspace_bytes(normkernels_dtype dtype,
                                                                      normkernels_order order,
                                                                      int64_t n, int64_t c,
                                                                      int64_t spatial,
                                                                      int64_t groups);

/** Group norm: instance norm whose statistics c / groups neighbouring channels share. For every
 * image i and group g, over its channels k and the spatial positions p:
 *
 *      y[i,k,p] = (x[i,k,p] - mean[i,g]) * inv_std[i,g] * scale[k] + bias[k],
 *      mean[i,g] = sum_{k,p} x[i,k,p] / (c / groups * spatial),
 *      inv_std[i,g] = 1 / sqrt(sum_{k,p} (x[i,k,p] - mean[i,g])^2 / (c / groups * spatial)
 *                                + epsilon)
 *
 *  groups   >= 1, divides c: 1 is one group of all channels, c instance norm
 *  x        [n, c, spatial] or [n, spatial, c], as `order` says
 *  scale    [c] or NULL             bias     [c] or NULL
 *  y        as x; may be x
 *  mean     [n, groups] or NULL     inv_std  [n, groups] or NULL
 *
 *  A constant group gives exactly bias, also with epsilon 0 (inv_std is then infinite). With
 *  spatial or c = 0, mean is 0 and inv_std 1 / sqrt(epsilon).
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON, BAD_SIZE. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_group_norm_forward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    int64_t groups, const void* x, const void* scale, const void* bias, double epsilon, void* y,
    void* mean, void* inv_std, void* workspace, const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_group_norm_backward, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_group_norm_backward_workspace_bytes(normkernels_dtype dtype,
                                                                       normkernels_order order,
                                                                       int64_t n, int64_t c,
                                                                       int64_t spatial,
                                                                       int64_t groups);

/** Gradients of group norm, with xhat = (x - mean) * inv_std, gy = dy * scale and means over the
 * channels and positions of a group g:
 *
 *      dx[i,k,p] = inv_std[i,g] * (gy[i,k,p] - mean_g(gy) - xhat[i,k,p] * mean_g(gy * xhat))
 *      dscale[k] = sum_{i,p} dy[i,k,p] * xhat[i,k,p],   dbias[k] = sum_{i,p} dy[i,k,p]
 *
 *  groups         >= 1, divides c
 *  dy, x          as `order` says
 *  scale          [c] or NULL
 *  mean, inv_std  [n, groups] as the forward returned them, or both NULL: recomputed from x
 *  epsilon        read only when they are NULL
 *  dx             as x; may be dy or x
 *  dscale         [c] or NULL         dbias  [c] or NULL
 *
 *  Where inv_std is infinite (constant group, epsilon 0) no gradient exists; xhat and dx are
 *  taken as 0.
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON, BAD_SIZE. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_group_norm_backward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    int64_t groups, const void* dy, const void* x, const void* scale, const void* mean,
    const void* inv_std, double epsilon, void* dx, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor);

/* ---- Local response norm (LRN) ------------------------------------------------------ */

/** The bytes of the workspace of normkernels_local_response_norm_forward and _backward, for the
 * same arguments: some 100 KiB for every thread that may have a share of the work, 7 MiB at most,
 * unless the window spans more than a hundred channels: it is then up to 4 times the bytes of x, or
 * 3 KiB for each of those channels if that is more. Since 0.1. */
NORMKERNELS_API size_t normkernels_local_response_norm_workspace_bytes(normkernels_dtype dtype,
                                                                       normkernels_order order,
                                                                       int64_t n, int64_t c,
                                                                       int64_t spatial,
                                                                       int64_t size);

/** LRN across channels, as ONNX defines it. For every image and position, with the window of
 * channel k W(k) = [k - floor((size-1)/2), k + ceil((size-1)/2)], cut to [0, c-1]:
 *
 *      s[k] = bias + alpha / size * sum_{j in W(k)} x[j]^2,     y[k] = x[k] * s[k]^-beta
 *
 *  x      [n, c, spatial] or [n, spatial, c]
 *  size   >= 1, may exceed c.  alpha, beta, bias: finite.
 *  y      as x; must not be x
 *  scale  as x, or NULL: receives s
 *
 *  A value, however large, infinite or NaN, reaches only the windows that contain it.
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_SIZE, BAD_SCALAR. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_local_response_norm_forward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* x, int64_t size, double alpha, double beta, double bias, void* y, void* scale,
    void* workspace, const normkernels_executor* executor);

/** Gradient of LRN, over the mirrored window M(k) = {j : k in W(j)}:
 *
 *      dx[k] = dy[k] * s[k]^-beta
 *              - 2 * alpha * beta / size * x[k] * sum_{j in M(k)} dy[j] * x[j] * s[j]^(-beta-1)
 *
 *  dy, x  [n, c, spatial] or [n, spatial, c]
 *  y      as x, or NULL: x[j] * s[j]^-beta as the forward returned it, spares a product
 *  scale  as x, or NULL: s as the forward returned it, spares the window sums
 *  dx     as x; must not be any of the inputs
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_SIZE, BAD_SCALAR. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_local_response_norm_backward(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, const void* y, const void* scale, int64_t size, double alpha,
    double beta, double bias, void* dx, void* workspace, const normkernels_executor* executor);

/* ---- Views: any strides and any axes ------------------------------------------------ */

/* The operators again, for arrays that do not lie in one piece: slices, transposed and permuted
 * arrays, broadcast inputs, and whichever axes are normalised.
 *
 * - `shape` has `rank` extents, at most 64. The arrays that have strides have this shape: a pointer
 *   to the element of all indices 0, and for each axis how many elements further the next one is,
 *   which may be 0 or negative. Where the strides are NULL, the array is dense and row-major, as
 *   are all arrays that have none.
 * - The result has the bits of the dense function on dense copies.
 * - Nothing is copied as a whole. Rows (of NHWC: pixels) that are each in one piece are read and
 *   written where they are; others, some at a time, through the workspace, which holds a few of
 *   them and does not grow with the array. Its size follows from the shape: it is asked for
 *   whatever the strides are.
 * - An output may be an input only where the dense function allows it, with the same pointer and
 *   strides. Views that interleave (x[:, :768] and x[:, 768:]) do not overlap. An output must not
 *   name an element twice. Views so intricate that to know takes long are taken to do so.
 * - Strides that lead out of the address space are a BAD_EXTENT of the strides.
 */

/** normkernels_layer_norm_forward over any axes: bit k of `axes` is set if axis k is normalised (2:
 *  the channels of [n, c, h, w]). Rows are then the places along the other axes, columns those
 *  along the normalised ones, both in the order of the shape.
 *
 *  x      `shape`, with x_strides
 *  gamma  [cols] or NULL        beta   [cols] or NULL
 *  y      `shape`, with y_strides; may be x
 *  mean   [rows] or NULL        sigma  [rows] or NULL
 *
 *  Statuses: those of every operator; BAD_AXES, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_layer_norm_forward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* x,
    const int64_t* x_strides, const void* gamma, const void* beta, double epsilon, void* y,
    const int64_t* y_strides, void* mean, void* sigma, void* workspace,
    const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_layer_norm_forward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_layer_norm_forward_view_workspace_bytes(normkernels_dtype dtype,
                                                                           int32_t rank,
                                                                           const int64_t* shape,
                                                                           uint64_t axes);

/** normkernels_layer_norm_backward over any axes.
 *
 *  dy, x        `shape`, with their strides
 *  mean, sigma  [rows], as the forward returned them
 *  gamma        [cols] or NULL
 *  dx           `shape`, with dx_strides; may be dy or x
 *  dgamma       [cols] or NULL        dbeta  [cols] or NULL
 *
 *  Statuses: those of every operator; BAD_AXES. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_layer_norm_backward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* dy,
    const int64_t* dy_strides, const void* x, const int64_t* x_strides, const void* mean,
    const void* sigma, const void* gamma, void* dx, const int64_t* dx_strides, void* dgamma,
    void* dbeta, void* workspace, const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_layer_norm_backward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_layer_norm_backward_view_workspace_bytes(normkernels_dtype dtype,
                                                                            int32_t rank,
                                                                            const int64_t* shape,
                                                                            uint64_t axes);

/** normkernels_moments over any axes.
 *
 *  x        `shape`, with x_strides
 *  moments  [rows]
 *
 *  Statuses: those of every operator; BAD_AXES. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_moments_view(normkernels_dtype dtype, int32_t rank,
                                                            const int64_t* shape, uint64_t axes,
                                                            const void* x, const int64_t* x_strides,
                                                            normkernels_row_moments* moments,
                                                            void* workspace,
                                                            const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_moments_view, for the same arguments. Since 0.1. */
NORMKERNELS_API size_t normkernels_moments_view_workspace_bytes(normkernels_dtype dtype,
                                                                int32_t rank, const int64_t* shape,
                                                                uint64_t axes);

/** normkernels_rms_norm_forward over any axes.
 *
 *  x      `shape`, with x_strides
 *  gamma  [cols] or NULL        beta  [cols] or NULL
 *  y      `shape`, with y_strides; may be x
 *  rstd   [rows] or NULL
 *
 *  Statuses: those of every operator; BAD_AXES, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_rms_norm_forward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* x,
    const int64_t* x_strides, const void* gamma, const void* beta, double epsilon, void* y,
    const int64_t* y_strides, void* rstd, void* workspace, const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_rms_norm_forward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_rms_norm_forward_view_workspace_bytes(normkernels_dtype dtype,
                                                                         int32_t rank,
                                                                         const int64_t* shape,
                                                                         uint64_t axes);

/** normkernels_rms_norm_backward over any axes.
 *
 *  dy, x    `shape`, with their strides
 *  rstd     [rows] or NULL: as the forward returned it, or recomputed from x
 *  gamma    [cols] or NULL
 *  epsilon  read only when rstd is NULL
 *  dx       `shape`, with dx_strides; may be dy or x
 *  dgamma   [cols] or NULL        dbeta  [cols] or NULL
 *
 *  Statuses: those of every operator; BAD_AXES, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_rms_norm_backward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* dy,
    const int64_t* dy_strides, const void* x, const int64_t* x_strides, const void* rstd,
    const void* gamma, double epsilon, void* dx, const int64_t* dx_strides, void* dgamma,
    void* dbeta, void* workspace, const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_rms_norm_backward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_rms_norm_backward_view_workspace_bytes(normkernels_dtype dtype,
                                                                          int32_t rank,
                                                                          const int64_t* shape,
                                                                          uint64_t axes);

/** normkernels_add_layer_norm_forward over any axes. The workspace of both is more than that of the
 *  norm alone.
 *
 *  x, residual  `shape`, with their strides
 *  bias         [cols] or NULL
 *  gamma        [cols] or NULL        beta   [cols] or NULL
 *  total        `shape`, with total_strides; may be x or residual
 *  y            `shape`, with y_strides; may be x or residual
 *  mean         [rows] or NULL        sigma  [rows] or NULL
 *
 *  Statuses: those of every operator; BAD_AXES, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_add_layer_norm_forward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* x,
    const int64_t* x_strides, const void* residual, const int64_t* residual_strides,
    const void* bias, const void* gamma, const void* beta, double epsilon, void* total,
    const int64_t* total_strides, void* y, const int64_t* y_strides, void* mean, void* sigma,
    void* workspace, const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_add_layer_norm_forward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_add_layer_norm_forward_view_workspace_bytes(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes);

/** normkernels_add_rms_norm_forward over any axes.
 *
 *  x, residual  `shape`, with their strides
 *  bias         [cols] or NULL
 *  gamma        [cols] or NULL        beta   [cols] or NULL
 *  total        `shape`, with total_strides; may be x or residual
 *  y            `shape`, with y_strides; may be x or residual
 *  rstd         [rows] or NULL
 *
 *  Statuses: those of every operator; BAD_AXES, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_add_rms_norm_forward_view(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes, const void* x,
    const int64_t* x_strides, const void* residual, const int64_t* residual_strides,
    const void* bias, const void* gamma, const void* beta, double epsilon, void* total,
    const int64_t* total_strides, void* y, const int64_t* y_strides, void* rstd, void* workspace,
    const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_add_rms_norm_forward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_add_rms_norm_forward_view_workspace_bytes(
    normkernels_dtype dtype, int32_t rank, const int64_t* shape, uint64_t axes);

/** normkernels_instance_norm_forward. `shape` is [n, c, spatial...] or [n, spatial..., c], as
 *  `order` says, of rank 2 or more: the order of the axes, whatever that in memory is.
 *
 *  x        `shape`, with x_strides
 *  scale    [c] or NULL         bias     [c] or NULL
 *  y        `shape`, with y_strides; may be x
 *  mean     [n, c] or NULL      inv_std  [n, c] or NULL
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_forward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* x, const int64_t* x_strides, const void* scale, const void* bias, double epsilon,
    void* y, const int64_t* y_strides, void* mean, void* inv_std, void* workspace,
    const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_instance_norm_forward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_instance_norm_forward_view_workspace_bytes(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape);

/** normkernels_instance_norm_backward.
 *
 *  dy, x          `shape`, with their strides
 *  scale          [c] or NULL
 *  mean, inv_std  [n, c] as the forward returned them, or both NULL: recomputed from x
 *  epsilon        read only when they are NULL
 *  dx             `shape`, with dx_strides; may be dy or x
 *  dscale         [c] or NULL         dbias  [c] or NULL
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_backward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* dy, const int64_t* dy_strides, const void* x, const int64_t* x_strides,
    const void* scale, const void* mean, const void* inv_std, double epsilon, void* dx,
    const int64_t* dx_strides, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor);

/** normkernels_instance_norm_with_gradient. Arguments as in the two before; y may be x, and dx may
 * be dy. The workspace is that of the backward.
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_with_gradient_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* x, const int64_t* x_strides, const void* scale, const void* bias, const void* dy,
    const int64_t* dy_strides, double epsilon, void* y, const int64_t* y_strides, void* mean,
    void* inv_std, void* dx, const int64_t* dx_strides, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_instance_norm_backward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_instance_norm_backward_view_workspace_bytes(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape);

/** normkernels_group_norm_forward. `shape` as in normkernels_instance_norm_forward_view.
 *
 *  groups   >= 1, divides c
 *  x        `shape`, with x_strides
 *  scale    [c] or NULL             bias     [c] or NULL
 *  y        `shape`, with y_strides; may be x
 *  mean     [n, groups] or NULL     inv_std  [n, groups] or NULL
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON, BAD_SIZE. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_group_norm_forward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    int64_t groups, const void* x, const int64_t* x_strides, const void* scale, const void* bias,
    double epsilon, void* y, const int64_t* y_strides, void* mean, void* inv_std, void* workspace,
    const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_group_norm_forward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_group_norm_forward_view_workspace_bytes(normkernels_dtype dtype,
                                                                           normkernels_order order,
                                                                           int32_t rank,
                                                                           const int64_t* shape,
                                                                           int64_t groups);

/** normkernels_group_norm_backward.
 *
 *  groups         >= 1, divides c
 *  dy, x          `shape`, with their strides
 *  scale          [c] or NULL
 *  mean, inv_std  [n, groups] as the forward returned them, or both NULL: recomputed from x
 *  epsilon        read only when they are NULL
 *  dx             `shape`, with dx_strides; may be dy or x
 *  dscale         [c] or NULL         dbias  [c] or NULL
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON, BAD_SIZE. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_group_norm_backward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    int64_t groups, const void* dy, const int64_t* dy_strides, const void* x,
    const int64_t* x_strides, const void* scale, const void* mean, const void* inv_std,
    double epsilon, void* dx, const int64_t* dx_strides, void* dscale, void* dbias, void* workspace,
    const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_group_norm_backward_view, for the same arguments.
 *  Since 0.1. */
NORMKERNELS_API size_t normkernels_group_norm_backward_view_workspace_bytes(normkernels_dtype dtype,
                                                                            normkernels_order order,
                                                                            int32_t rank,
                                                                            const int64_t* shape,
                                                                            int64_t groups);

/** normkernels_local_response_norm_forward. Through the workspace go all channels of some
 *  positions at a time.
 *
 *  x      `shape`, as `order` says, of rank 2 or more, with x_strides
 *  size   >= 1, may exceed c.  alpha, beta, bias: finite.
 *  y      `shape`, with y_strides; must not be x
 *  scale  `shape`, with scale_strides, or NULL: receives s
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_SIZE, BAD_SCALAR. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_local_response_norm_forward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* x, const int64_t* x_strides, int64_t size, double alpha, double beta, double bias,
    void* y, const int64_t* y_strides, void* scale, const int64_t* scale_strides, void* workspace,
    const normkernels_executor* executor);

/** normkernels_local_response_norm_backward.
 *
 *  dy, x  `shape`, with their strides
 *  y      `shape`, with y_strides, or NULL: as the forward returned it
 *  scale  `shape`, with scale_strides, or NULL: as the forward returned it
 *  dx     `shape`, with dx_strides; must not be any of the inputs
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_SIZE, BAD_SCALAR. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_local_response_norm_backward_view(
    normkernels_dtype dtype, normkernels_order order, int32_t rank, const int64_t* shape,
    const void* dy, const int64_t* dy_strides, const void* x, const int64_t* x_strides,
    const void* y, const int64_t* y_strides, const void* scale, const int64_t* scale_strides,
    int64_t size, double alpha, double beta, double bias, void* dx, const int64_t* dx_strides,
    void* workspace, const normkernels_executor* executor);

/** The bytes of the workspace of normkernels_local_response_norm_forward_view and _backward_view,
 * for the same arguments. Since 0.1. */
NORMKERNELS_API size_t normkernels_local_response_norm_view_workspace_bytes(normkernels_dtype dtype,
                                                                            normkernels_order order,
                                                                            int32_t rank,
                                                                            const int64_t* shape,
                                                                            int64_t size);

/* ---- Experimental: the steps of the originals --------------------------------------- */

/* These may change in any version. The functions that Caffe2's layer norm and instance norm are
 * made of, for code that was written against them. They compute y = x * scale + bias and the raw
 * sums of dy * x as the originals define them, and therefore lose digits when the mean is large
 * against the deviation; the operators above do not. No output may overlap another argument unless
 * said. */

/** sigma = sqrt(var + epsilon), scale = 1 / sigma, bias = -mean / sigma.
 *
 *  All [rows]; sigma may be var.
 *
 *  Statuses: those of every operator; BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_compute_sigma_and_fused_params(
    normkernels_dtype dtype, int64_t rows, double epsilon, const void* mean, const void* var,
    void* sigma, void* scale, void* bias, const normkernels_executor* executor);

/** y[i,j] = (x[i,j] * scale[i] + bias[i]) * gamma[j] + beta[j].
 *
 *  x, y [rows, cols] (y may be x); scale, bias [rows]; gamma, beta [cols] or NULL.
 *
 *  Statuses: those of every operator. Since 0.1. */
NORMKERNELS_API normkernels_status
normkernels_layer_norm_apply(normkernels_dtype dtype, int64_t rows, int64_t cols, const void* x,
                             const void* scale, const void* bias, const void* gamma,
                             const void* beta, void* y, const normkernels_executor* executor);

/** dyx = dy * x,  ds[i] = sum_j dy[i,j] * x[i,j] * gamma[j],  db[i] = sum_j dy[i,j] * gamma[j].
 *
 *  dy, x, dyx [rows, cols]; ds, db [rows]; gamma [cols] or NULL; dyx or NULL.
 *
 *  Statuses: those of every operator. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_layer_norm_internal_gradients(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* dy, const void* x,
    const void* gamma, void* dyx, void* ds, void* db, const normkernels_executor* executor);

/** rstd = 1 / sigma,  x_scale = (db * mean - ds) * rstd^3 / cols,
 *  bias = -x_scale * mean - db * rstd / cols,  g_scale = -rstd * mean.
 *
 *  All [rows]; g_scale or NULL.
 *
 *  Statuses: those of every operator. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_layer_norm_fused_params(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* mean, const void* sigma,
    const void* ds, const void* db, void* rstd, void* x_scale, void* bias, void* g_scale,
    const normkernels_executor* executor);

/** dx[i,j] = dy[i,j] * gamma[j] * dy_scale[i] + x[i,j] * x_scale[i] + bias[i].
 *
 *  dy, x, dx [rows, cols] (dx may be dy or x); gamma [cols] or NULL; the rest [rows].
 *
 *  Statuses: those of every operator. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_layer_norm_backward_apply(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* dy, const void* x,
    const void* gamma, const void* dy_scale, const void* x_scale, const void* bias, void* dx,
    const normkernels_executor* executor);

/** dgamma[j] = sum_i (dyx[i,j] * rstd[i] + dy[i,j] * g_scale[i]),  dbeta[j] = sum_i dy[i,j].
 *
 *  dyx, dy [rows, cols]; rstd, g_scale [rows]; dgamma, dbeta [cols].
 *
 *  Statuses: those of every operator. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_layer_norm_gamma_beta_backward(
    normkernels_dtype dtype, int64_t rows, int64_t cols, const void* dyx, const void* dy,
    const void* rstd, const void* g_scale, void* dgamma, void* dbeta,
    const normkernels_executor* executor);

/** mean and rstd = 1 / sqrt(var + epsilon), as instance_norm_forward computes them.
 *
 *  x as `order` says; mean, rstd [n, c]. The workspace is that of instance_norm_forward.
 *
 *  Statuses: those of every operator; BAD_ORDER, BAD_EPSILON. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_moments(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* x, double epsilon, void* mean, void* rstd, void* workspace,
    const normkernels_executor* executor);

/** scale[i,k] = rstd[i,k] * gamma[k],  bias[i,k] = beta[k] - scale[i,k] * mean[i,k].
 *
 *  mean, rstd, scale, bias [n, c]; gamma, beta [c].
 *
 *  Statuses: those of every operator. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_fused_params(
    normkernels_dtype dtype, int64_t n, int64_t c, const void* mean, const void* rstd,
    const void* gamma, const void* beta, void* scale, void* bias,
    const normkernels_executor* executor);

/** y[i,k,p] = x[i,k,p] * scale[i,k] + bias[i,k].
 *
 *  x, y as `order` says (y may be x); scale, bias [n, c].
 *
 *  Statuses: those of every operator; BAD_ORDER. Since 0.1. */
NORMKERNELS_API normkernels_status
normkernels_instance_norm_apply(normkernels_dtype dtype, normkernels_order order, int64_t n,
                                int64_t c, int64_t spatial, const void* x, const void* scale,
                                const void* bias, void* y, const normkernels_executor* executor);

/** ds[i,k] = sum_p dy[i,k,p] * x[i,k,p],  db[i,k] = sum_p dy[i,k,p].
 *
 *  dy, x as `order` says; ds, db [n, c].
 *
 *  Statuses: those of every operator; BAD_ORDER. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_internal_gradients(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, void* ds, void* db, const normkernels_executor* executor);

/** dx = c1 * dy + c2 * x + c3 with, per (i, k),  c1 = rstd * gamma,
 *  c2 = (db * mean - ds) * gamma * rstd^3 / spatial,
 *  c3 = -c2 * mean - db * gamma * rstd / spatial.
 *
 *  dy, x, dx as `order` says (dx may be dy or x); mean, rstd, ds, db [n, c]; gamma [c].
 *
 *  Statuses: those of every operator; BAD_ORDER. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_backward_apply(
    normkernels_dtype dtype, normkernels_order order, int64_t n, int64_t c, int64_t spatial,
    const void* dy, const void* x, const void* mean, const void* rstd, const void* gamma,
    const void* ds, const void* db, void* dx, const normkernels_executor* executor);

/** dgamma[k] = sum_i (ds[i,k] - db[i,k] * mean[i,k]) * rstd[i,k],  dbeta[k] = sum_i db[i,k].
 *
 *  ds, db, mean, rstd [n, c]; dgamma, dbeta [c].
 *
 *  Statuses: those of every operator. Since 0.1. */
NORMKERNELS_API normkernels_status normkernels_instance_norm_gamma_beta_backward(
    normkernels_dtype dtype, int64_t n, int64_t c, const void* ds, const void* db, const void* mean,
    const void* rstd, void* dgamma, void* dbeta, const normkernels_executor* executor);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* NORMKERNELS_NORMKERNELS_H_ */
