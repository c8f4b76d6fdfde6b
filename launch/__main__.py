"""`python -m varietas.launch VERB`, the same as `varietas VERB`."""

import sys

from varietas.launch.cli import command

if __name__ == "__main__":
    sys.exit(command())
