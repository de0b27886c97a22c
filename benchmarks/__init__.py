"""Benchmarks: ``python -m benchmarks recording`` measures what the project promises about speed."""
