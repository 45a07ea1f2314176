/* The interface as a C99 program sees it: every header constant, a call of arrays, one of a half
 * type, one of views, one error of each. */
#include <normkernels/normkernels.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

static void expect(int condition, const char* what) {
  if (!condition) {
    printf("FAILED: %s\n", what);
    ++failures;
  }
}

int main(void) {
  const float x[8] = {1, 2, 3, 4, 40000, 40001, 40002, 40003};
  float y[8], mean[2], sigma[2];
  const uint16_t half_x[4] = {0x3c00, 0xbc00, 0x4000, 0xc000}; /* 1, -1, 2, -2 */
  const float gamma[2] = {1, 3};
  uint16_t half_y[4];
  normkernels_row_moments moments[4];
  const int64_t shape[2] = {4, 2}, x_strides[2] = {1, 4}, y_strides[2] = {-2, 1};
  char version[32], workspace[4096 + 64];
  void* const at = workspace + (64 - (uintptr_t)workspace % 64);
  size_t bytes;
  normkernels_status status;
  int i;

  snprintf(version, sizeof version, "%d.%d.%d%s", NORMKERNELS_VERSION_MAJOR,
           NORMKERNELS_VERSION_MINOR, NORMKERNELS_VERSION_PATCH, NORMKERNELS_VERSION_SUFFIX);
  expect(strcmp(normkernels_version(), version) == 0, "version of the header and the library");

  status = normkernels_layer_norm_forward(NORMKERNELS_F32, 2, 4, x, NULL, NULL, 1e-5, y, mean,
                                          sigma, NULL);
  expect(status == NORMKERNELS_OK, "layer norm returns OK");
  expect(mean[0] == 2.5f && mean[1] == 40001.5f, "means");
  expect(sigma[0] == sigma[1], "both rows have the same deviation");
  for (i = 0; i < 4; ++i) expect(y[i] == y[i + 4], "an offset changes nothing");
  expect(y[3] > 1.3416f && y[3] < 1.3417f, "1.5 / sqrt(1.25 + 1e-5)");

  status =
      normkernels_layer_norm_forward(NORMKERNELS_F32, 2, 4, x, NULL, NULL, -1, y, NULL, NULL, NULL);
  expect(status == NORMKERNELS_BAD_EPSILON + 7, "a negative epsilon is refused");
  expect(normkernels_status_kind(status) == NORMKERNELS_BAD_EPSILON, "kind");
  expect(normkernels_status_argument(status) == 7, "position");
  expect(strlen(normkernels_status_string(status)) > 0, "a sentence");

  status = normkernels_layer_norm_forward(NORMKERNELS_F16 | NORMKERNELS_F32_GAMMA, 2, 2, half_x,
                                          gamma, NULL, 0, half_y, mean, NULL, NULL);
  expect(status == NORMKERNELS_OK, "layer norm of float16 returns OK");
  expect(half_y[0] == 0x3c00 && half_y[1] == 0xc200, "1 and -3");
  expect(half_y[0] == half_y[2] && half_y[1] == half_y[3], "a scale changes nothing");
  expect(mean[0] == 0 && mean[1] == 0, "statistics are of float");
  status = normkernels_layer_norm_forward(NORMKERNELS_F64 | NORMKERNELS_F32_GAMMA, 2, 2, half_x,
                                          gamma, NULL, 0, half_y, mean, NULL, NULL);
  expect(status == NORMKERNELS_BAD_DTYPE + 1, "a flag without a half type is refused");

  /* The rows of x as columns, written from the last row to the first. */
  bytes = normkernels_layer_norm_forward_view_workspace_bytes(NORMKERNELS_F32, 2, shape, 1);
  expect(bytes <= 4096, "a small workspace");
  status = normkernels_layer_norm_forward_view(NORMKERNELS_F32, 2, shape, 1, x, x_strides, NULL,
                                               NULL, 1e-5, y + 6, y_strides, mean, sigma, at, NULL);
  expect(status == NORMKERNELS_OK, "layer norm of views returns OK");
  expect(mean[0] == 2.5f && mean[1] == 40001.5f, "means of the other axis");
  for (i = 0; i < 4; ++i) expect(y[2 * i] == y[2 * i + 1], "the same of views");
  expect(y[0] > 1.3416f && y[0] < 1.3417f, "the last comes first");
  status = normkernels_layer_norm_forward_view(NORMKERNELS_F32, 2, shape, 4, x, x_strides, NULL,
                                               NULL, 1e-5, y, NULL, NULL, NULL, NULL, NULL);
  expect(status == NORMKERNELS_BAD_AXES + 4, "an axis that is not there is refused");

  status = normkernels_moments(NORMKERNELS_F32, 4, 2, x, moments, NULL);
  expect(status == NORMKERNELS_OK, "moments return OK");
  expect(moments[2].count == 2 && moments[2].scale == 1, "of two elements");
  expect(moments[2].mean == 40000.5 && moments[2].m2 == 0.5, "their moments");
  status = normkernels_merge_moments(2, moments, moments + 2, moments);
  expect(status == NORMKERNELS_OK, "they are merged");
  expect(moments[0].count == 4 && moments[0].mean == 20001, "the mean of four");
  expect(moments[0].m2 == 4.0 * 19999.5 * 19999.5 + 1, "their squared deviations");
  status = normkernels_moments_view(NORMKERNELS_F32, 2, shape, 1, x, x_strides, moments, at, NULL);
  expect(status == NORMKERNELS_OK, "moments of views return OK");
  expect(moments[1].count == 4 && moments[1].mean == 40001.5, "along the other axis");

  expect(normkernels_isa_count() >= 1, "an instruction set");
  expect(normkernels_isa_name(normkernels_isa_active()) != NULL, "the active one has a name");
  expect(normkernels_num_threads() >= 1, "a thread");
  return failures != 0;
}
