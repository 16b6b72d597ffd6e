# SPDX-License-Identifier: BSD-3-Clause
"""``python -m gkl``: the command line of :mod:`gkl.cli`."""

import sys

from gkl.cli import main

if __name__ == "__main__":
    sys.exit(main())
