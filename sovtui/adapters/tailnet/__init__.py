"""The tailnet: asking this machine's daemon, finding the way to a host through it, watching the path."""
