"""Records on disk and what their numbers say: rows, intervals, tests. Imports no torch."""
