"""What LCH costs, beside Node hooks: `make bench`, or `python -m benchmarks --help`. See README.md here."""
