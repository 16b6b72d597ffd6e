# SPDX-License-Identifier: BSD-3-Clause
"""What test_derivations.py holds the formulas of docs/derivations/ to."""
