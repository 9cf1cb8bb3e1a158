"""Sees every compute-intensive operation of a module while it runs."""
