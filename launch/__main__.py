"""`python -m varietas.launch VERB`, the same as `varietas VERB`."""

import sys

from varietas.launch.cli import main

if __name__ == "__main__":
    sys.exit(main())
