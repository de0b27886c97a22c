"""How a worker process ends, for the supervisor that decides what comes next.

Any other code, and any signal, is a death: what the process held is given back at once.
"""

# Told to stop, or nothing is left to do.
DONE = 0
# It has run its ``--max-tasks``, was declared dead, or holds a body that cannot be stopped.
REPLACE = 3
# It cannot work with these settings, and its successor could not either.
MISCONFIGURED = 4
