"""The regression check: does quantization cost more accuracy than it did? It reads rows and per-sample scores only."""
