"""The same model served by Ray Serve: one replica behind its HTTP proxy, a FastAPI ingress."""

import os
import signal
import time
from typing import Any

import ray  # type: ignore[import-not-found]
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve

from bench.inference import sample_rows

app = FastAPI()


class Request(BaseModel):
    """Whom to predict for."""

    entity_id: str


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
@serve.ingress(app)
class Sample:
    """One entity's features through the model."""

    def __init__(self) -> None:
        self.session, self.rows = sample_rows.load()

    @app.post("/predict")
    def predict(self, request: Request) -> dict[str, Any]:
        """What a prediction looks like."""
        return sample_rows.score(self.session, self.rows[request.entity_id], request.entity_id)


if __name__ == "__main__":
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Sample.bind())  # type: ignore[attr-defined]
    while not ended:
        time.sleep(0.2)
    ray.shutdown()
