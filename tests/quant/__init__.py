"""Tests of quantbench.quant."""
