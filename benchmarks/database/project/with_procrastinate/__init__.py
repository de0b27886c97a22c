"""The tasks of Procrastinate, which its Django app finds by the name of their module."""
