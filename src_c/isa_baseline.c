/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything for what every machine of the architecture has.
 */
#define ISA baseline
#define ISA_WORDS "simd/baseline.h"
#define VECTOR_BYTES 16
#define TILE 4
#define ISA_AVAILABLE 1
#include "spine.inc.h"
