"""Bad inputs of every kind, given to the screen as a user has it: see `python -m tests.hostile --help`."""
