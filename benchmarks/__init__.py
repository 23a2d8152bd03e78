"""Figures of this project, each with the bound that it must keep. `python -m benchmarks`."""
