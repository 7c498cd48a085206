"""`python -m hfsr` is the `hfsr` command."""

import sys

from hfsr.cli import main

if __name__ == "__main__":
    sys.exit(main())
