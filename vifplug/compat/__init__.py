"""Compatibility with other projects. Each module imports its optional dependency only when it is used."""
