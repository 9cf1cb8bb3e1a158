"""The mathematics of quantization. Imports torch and NumPy only; knows no configuration, file or network by name."""
