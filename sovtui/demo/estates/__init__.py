"""The estates of the demo, one file each, found by its name."""
