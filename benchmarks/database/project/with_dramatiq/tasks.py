import os

import dramatiq
from app import bodies
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(
    url=os.environ["BENCHMARKS_REDIS"], namespace=os.environ["BENCHMARKS_REDIS_NAMESPACE"]
)
dramatiq.set_broker(broker)


@dramatiq.actor
def mark(name: str) -> None:
    bodies.mark(name)


@dramatiq.actor
def no_op() -> None:
    pass
