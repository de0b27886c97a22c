"""The tasks of dramatiq on Redis, which run without Django."""
