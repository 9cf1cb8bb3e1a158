"""From a cell to a record: float reference, calibration, quantized pass, scores."""
