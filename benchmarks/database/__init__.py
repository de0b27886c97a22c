"""The suite ``database``: our Database backend beside its rivals, on real databases.

Each side runs in a virtual environment of its own (``environments``), with the little Django
project in ``project`` and a database of its own (``servers``). ``sides`` says who takes part.
"""
