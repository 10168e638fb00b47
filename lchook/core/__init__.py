"""Rules without I/O: no clock, no threads, no gevent, no store, no log."""
