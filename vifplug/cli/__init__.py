"""The ``vifplug`` command: parse, call, print. Everything it does, the library does as well."""
