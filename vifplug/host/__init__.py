"""The host: one package for each technology, each behind the same narrow interface (`vifplug.host.backend`)."""
