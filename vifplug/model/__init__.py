"""The model: immutable, validated data and its rules. No I/O, no logging, no configuration."""
