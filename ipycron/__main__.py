"""``python -m ipycron`` is the `ipycron` command."""

import sys

from ipycron.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
