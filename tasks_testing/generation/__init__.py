"""What factories and strategies have in common: lives of tasks that could have happened.

`tasks_testing.factories` and `tasks_testing.strategies` are the faces; nothing here is public.
"""
