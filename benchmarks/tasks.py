"""Tasks that do nothing, one for each backend: what is measured is all that is around them."""

from django.tasks import task


@task
def ours_dummy() -> None:
    pass


@task(backend="ours_immediate")
def ours_immediate() -> None:
    pass


@task(backend="django_dummy")
def django_dummy() -> None:
    pass


@task(backend="django_immediate")
def django_immediate() -> None:
    pass


@task
def with_arguments(order: int, *, resend: bool) -> None:
    pass
