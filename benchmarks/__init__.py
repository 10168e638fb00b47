"""What LCH costs, beside a plain Node hook: `make bench`, or `python -m benchmarks --help`. See README.md here."""
