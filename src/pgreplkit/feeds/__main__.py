"""Run feeds: ``python -m pgreplkit.feeds config.toml``."""

import sys

from pgreplkit.feedcommand import main

if __name__ == "__main__":
    sys.exit(main())
