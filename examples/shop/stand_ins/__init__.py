"""Other people's services, played by a few lines: for the tests, the simulation, and runserver."""
