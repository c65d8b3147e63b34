"""The machine: one file for each technology, each behind the same narrow door (`vifplug.host.backend`)."""
