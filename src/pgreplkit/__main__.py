# PYTHON_ARGCOMPLETE_OK
"""Run the command: ``python -m pgreplkit lag 'host=db1' 'host=db2'``."""

import sys

from pgreplkit.command import main

if __name__ == "__main__":
    sys.exit(main())
