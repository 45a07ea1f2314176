/* Group norm of two images and its gradients, with all memory the program's own, and what an error
 * says. */
#include <normkernels/normkernels.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 2, C = 4, SPATIAL = 6, GROUPS = 2 };

/* The parameters of normkernels_group_norm_forward, in order: a status has the position of the one
 * at fault. */
static const char* const parameters[] = {"dtype",  "order", "n",       "c",         "spatial",
                                         "groups", "x",     "scale",   "bias",      "epsilon",
                                         "y",      "mean",  "inv_std", "workspace", "executor"};

int main(void) {
  float x[N][C][SPATIAL], y[N][C][SPATIAL], dx[N][C][SPATIAL];
  float mean[N][GROUPS], inv_std[N][GROUPS], dscale[C], dbias[C];
  for (int i = 0; i < N * C * SPATIAL; ++i) (&x[0][0][0])[i] = 1000.0f + (float)(i * 7 % 11);

  size_t bytes = normkernels_group_norm_forward_workspace_bytes(NORMKERNELS_F32, NORMKERNELS_NCHW,
                                                                N, C, SPATIAL, GROUPS);
  const size_t for_backward = normkernels_group_norm_backward_workspace_bytes(
      NORMKERNELS_F32, NORMKERNELS_NCHW, N, C, SPATIAL, GROUPS);
  if (for_backward > bytes) bytes = for_backward;
  void* workspace = aligned_alloc(64, (bytes + 64) / 64 * 64);
  if (workspace == NULL) return 1;

  normkernels_status status =
      normkernels_group_norm_forward(NORMKERNELS_F32, NORMKERNELS_NCHW, N, C, SPATIAL, GROUPS, x,
                                     NULL, NULL, 1e-5, y, mean, inv_std, workspace, NULL);
  if (status == NORMKERNELS_OK) {
    status = normkernels_group_norm_backward(NORMKERNELS_F32, NORMKERNELS_NCHW, N, C, SPATIAL,
                                             GROUPS, y, x, NULL, mean, inv_std, 0, dx, dscale,
                                             dbias, workspace, NULL);
  }
  if (status != NORMKERNELS_OK) {
    fprintf(stderr, "%s\n", normkernels_status_string(status));
    return 1;
  }
  printf("mean %.3f, 1 / std %.4f, y %.4f, dx %.1e\n", mean[0][0], inv_std[0][0], y[0][0][0],
         dx[0][0][0]);

  /* Three groups do not divide four channels. */
  status = normkernels_group_norm_forward(NORMKERNELS_F32, NORMKERNELS_NCHW, N, C, SPATIAL, 3, x,
                                          NULL, NULL, 1e-5, y, mean, inv_std, workspace, NULL);
  printf("%s: %s\n", parameters[normkernels_status_argument(status) - 1],
         normkernels_status_string(status));
  free(workspace);
  return 0;
}
