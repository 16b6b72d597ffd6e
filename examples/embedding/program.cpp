// SPDX-License-Identifier: BSD-3-Clause
//
// Many posteriors against one prior that all share: a job, in which a stride of 0 stands for that.
#include <gkl.h>

#include <cstdio>
#include <vector>

namespace {

// `data` as an operand of a job: contiguous along d, `stride` bytes from one item to the next
gkl_array operand(const float *data, const ptrdiff_t *stride) {
    gkl_array x = {};
    x.data = reinterpret_cast<char *>(const_cast<float *>(data));
    x.stride = stride;
    x.step = sizeof(float);
    return x;
}

} // namespace

int main() {
    const ptrdiff_t n = 4, d = 3, row = d * sizeof(float), number = sizeof(float), none = 0;
    const std::vector<float> mean = {0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 1, 1}, logvar(n * d, 0.0f);
    const std::vector<float> prior_mean(d, 0.0f), prior_std(d, 2.0f);
    std::vector<float> kl(n);

    gkl_job job = {};
    job.p = GKL_LOGVAR;
    job.q = GKL_STD;
    job.output = GKL_VALUE;
    job.storage = GKL_F32;
    job.ndim = 1;
    job.shape = &n;
    job.dim = d;
    job.in[0] = operand(mean.data(), &row);
    job.in[1] = operand(logvar.data(), &row);
    job.in[2] = operand(prior_mean.data(), &none);
    job.in[3] = operand(prior_std.data(), &none);
    job.out[0] = operand(kl.data(), &number);
    if (gkl_run(&job) != 0 || *gkl_bad_items() != 0)
        return 1;
    for (float x : kl)
        std::printf("%.6f\n", static_cast<double>(x));
}
