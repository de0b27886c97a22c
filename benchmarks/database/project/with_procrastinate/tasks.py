from app import bodies
from procrastinate.contrib.django import app


@app.task
def mark(name: str) -> None:
    bodies.mark(name)


@app.task
def no_op() -> None:
    pass


@app.task
def one_query() -> None:
    bodies.query()
