"""`python -m quantbench`: the command line without its script."""

import sys

from quantbench.cli.main import main

sys.exit(main())
