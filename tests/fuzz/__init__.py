"""Random nonsense for a running LCH: `python -m tests.fuzz --seed 1 --inputs 100000`."""
