"""Tasks with the options that only the Database backend keeps."""

from datetime import timedelta

from django.tasks import task as django_task

from tasks_database.engine import task


@django_task
def plain(*args, **kwargs):
    return None


@task
def cleaned(result_id):
    """A hook: called with the id of a result."""


@task
def alarmed(result_id):
    """A hook for failures."""


@task
def doubled(value, times=2):
    """A link of a chain."""
    return value * times


@task
def told(value):
    """The end of a chain."""


@task(
    max_attempts=3,
    max_rescues=2,
    timeout=timedelta(seconds=9),
    on_success=cleaned,
    on_failure=alarmed,
)
def hooked(number=0):
    return number


@task(unique_key="the only one")
def single(number=0):
    return number


@task(unique_key=lambda product, **options: f"product {product}" if product else None)
def indexed(product, *, full=False):
    return product


@task(unique_key=lambda: 7)
def miskeyed():
    """Its key is no text."""


def undecorated():
    """A function, and no Task."""
    raise AssertionError("it was called")


NOT_CALLABLE = "a value"


@task(max_concurrency=2, rate="10/s")
def limited(number=0):
    return number
