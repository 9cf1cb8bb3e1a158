"""Rewrites of the float network into an equivalent one, before calibration."""
