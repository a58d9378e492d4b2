"""The integration test box: a real Debian with systemd as PID 1, booted in namespaces on this machine."""
