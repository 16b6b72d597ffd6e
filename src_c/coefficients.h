/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Written by docs/minimax.py, which derives them and says what they approximate.
 */
#ifndef GKL_COEFFICIENTS_H
#define GKL_COEFFICIENTS_H

/* relative error of phi 2^-25.8 */
static const float phi_coefficients_f32[9] = {
    -0x1.5555540000000p-2f,
    0x1.fffffc0000000p-3f,
    -0x1.999d5a0000000p-3f,
    0x1.555b4a0000000p-3f,
    -0x1.23d2180000000p-3f,
    0x1.fcf4c20000000p-4f,
    -0x1.dea28c0000000p-4f,
    0x1.d635e40000000p-4f,
    -0x1.1d8ebe0000000p-4f,
};

/* relative error of phi 2^-54.5 */
static const double phi_coefficients_f64[20] = {
    -0x1.5555555555556p-2,
    0x1.fffffffffffe7p-3,
    -0x1.9999999999010p-3,
    0x1.5555555558074p-3,
    -0x1.24924925376fcp-3,
    0x1.fffffffe03789p-4,
    -0x1.c71c713ccb202p-4,
    0x1.999999970efeap-4,
    -0x1.745d343989cc1p-4,
    0x1.555574ce0c2e4p-4,
    -0x1.3b10575caa7c2p-4,
    0x1.248bbb16fa5f9p-4,
    -0x1.1148d71f7565cp-4,
    0x1.009da02073165p-4,
    -0x1.de2b239b1ed44p-5,
    0x1.b7c4ec4fa6f46p-5,
    -0x1.b8106561c49d5p-5,
    0x1.f622726139b50p-5,
    -0x1.d031e1695fa0fp-5,
    0x1.9a9abd337d594p-6,
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

#endif
