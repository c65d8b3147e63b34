"""The guest's ``<interface>`` element: its content, how it is written, and how it is read."""
