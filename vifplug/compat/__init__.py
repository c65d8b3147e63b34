"""Doors for those who come from other projects. Each needs an extra, which is imported only by what goes through it."""
