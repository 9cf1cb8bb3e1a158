"""The package's version, in the one place that the build reads too."""

VERSION = "0.1.0"
