"""Tables, figures and a page, from records alone."""

import logging

# Where matplotlib cannot write into the home it says so, in two lines, and goes on.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
