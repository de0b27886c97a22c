"""The app whose tasks every side runs."""
