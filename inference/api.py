"""The HTTP API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ValidationError

from inference.deadline import Deadline
from inference.edge import Activity, App, Receive, Scope, Send
from inference.errors import BadRequest, BodyTooLarge, DeadlineExceeded, Overloaded, RequestError
from inference.logs import request_id
from inference.metrics import Metrics
from inference.schemas import BatchRequest, BatchResponse, Live, PredictRequest, PredictResponse, Problem, Ready
from inference.service import PredictionService
from inference.settings import Settings

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "No features for the entity"},
    413: {"model": Problem, "description": "The body is too large"},
    422: {"model": Problem, "description": "The body or a header is malformed"},
    503: {"model": Problem, "description": "The queue is full or the feature store is down: see Retry-After"},
    504: {"model": Problem, "description": "The deadline passed"},
}
DEADLINE_HEADER = "x-deadline-ms"
log = logging.getLogger(__name__)
Body = TypeVar("Body", bound=BaseModel)


Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class DirectRoute(APIRoute):
    """A route whose endpoint takes the Request, gives the Response, and answers what it expects to fail by itself.

    So it needs none of FastAPI's dependency solving, nor validation of our own answers. The documentation comes from
    `openapi_extra` and `responses`.
    """

    def get_route_handler(self) -> Endpoint:
        """The endpoint, as it is."""
        return cast(Endpoint, self.endpoint)


def direct(routes: APIRouter) -> dict[tuple[str, str], App]:
    """The POST routes as ASGI apps of their own, by method and path.

    A request on its way through FastAPI's eight layers costs about as much again as all the rest of it, the sample
    model included. For these routes there is nothing that the layers would do.
    """
    found = [route for route in routes.routes if isinstance(route, DirectRoute)]
    return {
        ("POST", route.path): _as_app(cast(Endpoint, route.endpoint))
        for route in found
        if "POST" in (route.methods or ())
    }


def router(
    service: PredictionService, settings: Settings, metrics: Metrics, activity: Activity, about: Ready
) -> APIRouter:
    """All paths of the service. `about` is what readiness answers while nothing drains."""
    routes = APIRouter(route_class=DirectRoute)

    async def work(
        request: Request, schema: type[Body], run: Callable[[Body, Deadline], Awaitable[dict[str, Any]]]
    ) -> Response:
        try:
            # First of all: beyond what one event loop can do, telling requests to return is most of its work.
            service.check_room()
            deadline = deadline_of(request, settings)
            async with asyncio.timeout_at(deadline.at):
                body = parse(schema, await read_body(request, settings.body_limit_bytes))
                answer = await run(body, deadline)
        except RequestError as error:
            return problem(error)
        except TimeoutError:
            return problem(DeadlineExceeded("the deadline passed before there was a prediction"))
        return Response(orjson.dumps(answer), media_type="application/json")

    @routes.post("/predict", **_documented(PredictRequest, PredictResponse))
    async def predict(request: Request) -> Response:
        """Predict for one entity."""
        return await work(request, PredictRequest, lambda body, deadline: service.predict(body.entity_id, deadline))

    @routes.post("/predict/batch", **_documented(BatchRequest, BatchResponse))
    async def predict_batch(request: Request) -> Response:
        """Predict for several entities at once."""

        def run(body: BatchRequest, deadline: Deadline) -> Awaitable[dict[str, Any]]:
            if len(body.entity_ids) > settings.entities_limit:
                raise BadRequest(f"{len(body.entity_ids)} entities; at most {settings.entities_limit} at once")
            return service.predict_many(body.entity_ids, deadline)

        return await work(request, BatchRequest, run)

    @routes.get("/health/live", response_model=Live, tags=["health"])
    async def live(_: Request) -> Response:
        """Whether the process answers. It does not look at anything else: a restart would not mend a database."""
        return JSONResponse({"status": "live"})

    @routes.get("/health/ready", response_model=Ready, responses={503: {"model": Ready}}, tags=["health"])
    async def ready(_: Request) -> Response:
        """Whether new requests are welcome: 503 from SIGTERM on.

        A database that is down does not count: what is cached is still served, and no pod would be left.
        """
        if activity.draining:
            return JSONResponse({**about.model_dump(), "status": "draining"}, status_code=503)
        return JSONResponse(about.model_dump())

    @routes.get("/metrics", response_class=PlainTextResponse, tags=["health"])
    async def scrape(_: Request) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return routes


def deadline_of(request: Request, settings: Settings) -> Deadline:
    """The request's deadline: its header, else the default. Raises BadRequest for a header that is no time."""
    given = request.headers.get(DEADLINE_HEADER)
    if given is None:
        return Deadline.after(settings.deadline_ms / 1000)
    if not (given.isascii() and given.isdigit() and len(given) < 10 and int(given) > 0):
        raise BadRequest("X-Deadline-Ms must be a whole number of milliseconds of at least 1")
    return Deadline.after(min(int(given), settings.deadline_max_ms) / 1000)


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as more than `limit` bytes are announced or have come."""
    too_large = BodyTooLarge(f"a body may have {limit} bytes")
    if int(request.headers.get("content-length") or 0) > limit:
        raise too_large
    body = b""
    async for chunk in request.stream():
        body = body + chunk if body else chunk
        if len(body) > limit:
            raise too_large
    return body


def parse(schema: type[Body], body: bytes) -> Body:
    """The body as `schema`. Raises BadRequest that says where it is not."""
    try:
        return schema.model_validate_json(body)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    raise BadRequest(f"{where}: {first['msg']}" if where else first["msg"])


def problem(error: RequestError) -> Response:
    """The answer to a request that failed, as RFC 9457 says."""
    if error.status >= 500 and not isinstance(error, Overloaded):
        log.warning("%s: %s", error.code, error)
    details = Problem(
        title=error.title, status=error.status, detail=str(error), code=error.code, request_id=request_id.get()
    )
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    return Response(orjson.dumps(details.model_dump()), error.status, headers, "application/problem+json")


def _as_app(endpoint: Endpoint) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await endpoint(Request(scope, receive, send))
        except Exception:
            log.exception("a request failed in a way that nobody expected")
            response = problem(RequestError("see the service's log"))
        await response(scope, receive, send)

    return app


def _documented(body: type[BaseModel], answer: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of a route that reads `body` and answers `answer`."""
    return {
        "response_model": answer,
        "responses": PROBLEMS,
        "tags": ["predictions"],
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": body.model_json_schema()}}},
            "parameters": [
                {
                    "name": "X-Deadline-Ms",
                    "in": "header",
                    "schema": {"type": "integer", "minimum": 1},
                    "description": "Milliseconds within which the answer is of use; nothing works on it after that.",
                }
            ],
        },
    }
