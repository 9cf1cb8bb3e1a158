"""Methods: each turns a float network into a quantized one."""
