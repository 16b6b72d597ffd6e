/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The baseline has no words of its own: generic.h, with what every machine of the architecture has.
 */
