/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Written by docs/minimax.py, which derives them and says what they approximate.
 */
#ifndef GKL_COEFFICIENTS_H
#define GKL_COEFFICIENTS_H

/* relative error of phi 2^-25.4 */
static const float phi_coefficients_f32[10] = {
    -0x1.5555540000000p-2f,
    0x1.fffff20000000p-3f,
    -0x1.999ac00000000p-3f,
    0x1.555cf60000000p-3f,
    -0x1.245db00000000p-3f,
    0x1.fd90980000000p-4f,
    -0x1.cb961e0000000p-4f,
    0x1.be45600000000p-4f,
    -0x1.8732580000000p-4f,
    0x1.6f73900000000p-5f,
};

/* relative error of phi 2^-54.4 */
static const double phi_coefficients_f64[21] = {
    -0x1.5555555555556p-2,
    0x1.fffffffffffc9p-3,
    -0x1.99999999993e0p-3,
    0x1.555555555ba1bp-3,
    -0x1.24924924f3f5ep-3,
    0x1.fffffff9c9a7ep-4,
    -0x1.c71c7174895c2p-4,
    0x1.99999acaed595p-4,
    -0x1.745d28ec061dfp-4,
    0x1.555541def82c9p-4,
    -0x1.3b119ab9dd53fp-4,
    0x1.2490ffb4d5ed6p-4,
    -0x1.113442e19fa8bp-4,
    0x1.00454d500e194p-4,
    -0x1.df94c494f7f97p-5,
    0x1.bedbbf2f49044p-5,
    -0x1.b3277bfe77300p-5,
    0x1.cd9199cd49d07p-5,
    -0x1.c52a47a6ab23ap-5,
    0x1.3008d5cf74936p-5,
    -0x1.7981f6da62af7p-7,
};

/* relative error of psi 2^-26.6 */
static const float psi_coefficients_f32[8] = {
    0x1.5555560000000p-3f,
    0x1.5555560000000p-5f,
    0x1.11111e0000000p-7f,
    0x1.6c16ca0000000p-10f,
    0x1.a009000000000p-13f,
    0x1.a00eb00000000p-16f,
    0x1.78a70e0000000p-19f,
    0x1.2c69680000000p-22f,
};

/* relative error of psi 2^-55.3 */
static const double psi_coefficients_f64[14] = {
    0x1.5555555555555p-3,
    0x1.5555555555555p-5,
    0x1.11111111110fdp-7,
    0x1.6c16c16c16c0ep-10,
    0x1.a01a01a01ee70p-13,
    0x1.a01a01a01c2e2p-16,
    0x1.71de3a4e14f40p-19,
    0x1.27e4fb7447711p-22,
    0x1.ae6460fae3728p-26,
    0x1.1eed93a725e03p-29,
    0x1.611cb330c1fe8p-33,
    0x1.93907865bd1d7p-37,
    0x1.b41232cf9950fp-41,
    0x1.b372dbe9fbac4p-45,
};

/* relative error of psi by its skew part 2^-27.0 */
static const float skew_coefficients_f32[3] = {
    0x1.5555540000000p-4f,
    -0x1.1109e00000000p-6f,
    0x1.ca80180000000p-9f,
};

/* relative error of psi by its skew part 2^-51.6 */
static const double skew_coefficients_f64[6] = {
    0x1.5555555555542p-4,
    -0x1.11111110faf4ep-6,
    0x1.d41d41533546ap-9,
    -0x1.a019780b5f50ep-11,
    0x1.7a03aea8a82b8p-13,
    -0x1.4e49de70fd472p-15,
};

#endif
