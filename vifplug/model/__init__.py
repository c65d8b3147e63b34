"""What things are: frozen records and their rules. No I/O, no logging, no configuration in this room."""
