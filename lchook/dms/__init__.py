"""The way to DMS over HTTP."""
