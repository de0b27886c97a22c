"""The production side of django-tasks-testing. In this release: the engine only.

Importing this package imports no test library; it never imports ``tasks_testing``.
"""
