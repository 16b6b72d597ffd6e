/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Three Gaussians in two dimensions against N(0, I): KL divergences and their gradients.
 */
#include <gkl.h>
#include <stdio.h>

enum { N = 3, D = 2 };

int main(void) {
    const double mean[N][D] = {{0, 0}, {1, 0}, {0, 2}}, var[N][D] = {{1, 1}, {0.5, 2}, {1, -1}};
    double kl[N], d_mean[N][D], d_var[N][D];
    const ptrdiff_t bad = gkl_kl_and_grad_f64(GKL_VAR, GKL_UNIT, N, D, *mean, *var, NULL, NULL, kl,
                                              *d_mean, *d_var, NULL, NULL);
    if (bad < 0) {
        fprintf(stderr, "gkl: error %d\n", (int)-bad);
        return 1;
    }
    for (int i = 0; i < N; ++i)
        printf("%d: kl %.6f, by mean %.3f %.3f, by var %.3f %.3f\n", i, kl[i], d_mean[i][0],
               d_mean[i][1], d_var[i][0], d_var[i][1]);
    printf("%d bad\n", (int)bad); /* a variance is negative */
    return 0;
}
