"""The guest's ``<interface>`` element: what is in it, how it is written, how one is read."""
