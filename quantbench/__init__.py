"""What int8 quantization does to a network's accuracy, measured."""
