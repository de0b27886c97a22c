from app import bodies
from django.tasks import task


@task
def mark(name: str) -> None:
    bodies.mark(name)


@task
def no_op() -> None:
    pass


@task
def one_query() -> None:
    bodies.query()
