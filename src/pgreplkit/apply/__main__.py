"""Run an applier: ``python -m pgreplkit.apply config.toml``."""

import sys

from pgreplkit.applycommand import main

if __name__ == "__main__":
    sys.exit(main())
