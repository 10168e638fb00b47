"""What LCH relies on inside other people's libraries, pinned: each change of theirs fails a test that says what to read.

`pins.toml` is the table. `python -m tests.upstream` compares it with what is installed.
"""
