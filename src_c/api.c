/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of functions.
 */
#include "gkl.h"

const gkl_api *gkl_get_api(void) {
    static const gkl_api api = {
        .major = GKL_API_MAJOR,
        .minor = GKL_API_MINOR,
        .version = GKL_VERSION,
        .kl_f32 = gkl_kl_f32,
        .kl_f64 = gkl_kl_f64,
        .kl_and_grad_f32 = gkl_kl_and_grad_f32,
        .kl_and_grad_f64 = gkl_kl_and_grad_f64,
        .run = gkl_run,
        .bad_items = gkl_bad_items,
        .pairwise = gkl_pairwise,
        .nearest = gkl_nearest,
        .within = gkl_within,
        .isa = gkl_isa,
        .threads = gkl_threads,
        .set_own_threads = gkl_set_own_threads,
    };
    return &api;
}
