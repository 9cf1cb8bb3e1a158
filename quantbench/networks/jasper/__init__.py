"""Jasper and QuartzNet, with the readers of their checkpoints."""
