"""The web server: a page, a stream of what changes on it, and a handler for each button. None waits for a task."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from celeriac.exceptions import OperationalError
from examples.shared.guard import Guard
from examples.shared.samples import SAMPLES
from examples.shared.thumbnails import EDGES_PX
from examples.studio.app import LOOK_EVERY_S, MAX_BYTES, MAX_PICTURES
from examples.studio.darkroom import BrokenPicture
from examples.studio.studio import Studio
from examples.studio.tasks import file_of

# All that can be asked for. Names and ids of a client are looked up; none becomes part of a path.
STATIC = {path.name: path for path in Path(__file__).with_name("static").iterdir()} | SAMPLES
MADE = {name: f"{name}.webp" for name in ["sheet", *map(str, EDGES_PX)]}


def make_web(studio: Studio, *more: BaseRoute) -> Starlette:
    """The application. It knows no users, so `Guard` lets nobody in but the pages of this machine."""

    async def static(request: Request) -> Response:
        return FileResponse(look_up(STATIC, request.path_params.get("name", "studio.html")))

    async def made(request: Request) -> Response:
        picture = look_up(studio.pictures, str(request.path_params["picture"]))
        path = file_of(picture.id, look_up(MADE, request.path_params["name"]))
        return FileResponse(path, media_type="image/webp") if path.exists() else Response(status_code=404)

    async def changes() -> AsyncIterator[str]:
        shown = None
        while True:
            if studio.drawn != shown:
                shown = studio.drawn
                yield f"data: {json.dumps(shown)}\n\n"
            await asyncio.sleep(LOOK_EVERY_S / 2)

    async def events(request: Request) -> Response:
        return StreamingResponse(changes(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def upload(request: Request) -> Response:
        if len(studio.pictures) >= MAX_PICTURES:
            raise HTTPException(429, f"{MAX_PICTURES} pictures are enough; remove some first.")
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_BYTES:  # counted while it comes in, whatever length was announced
                raise HTTPException(413, f"More than {MAX_BYTES // 1_000_000} MB is too much.")
        try:
            await studio.add(request.query_params.get("name", "picture")[:80], bytes(data))
        except BrokenPicture as exc:
            raise HTTPException(415, str(exc)) from exc
        return Response(status_code=202)

    async def drop(request: Request) -> Response:
        picture = look_up(studio.pictures, str(request.path_params["picture"]))
        # Answered first: to take a task out of a long queue may take longer than a click should.
        return Response(status_code=202, background=BackgroundTask(studio.drop, picture))

    async def newsletter(request: Request) -> Response:
        buttons = {"send": studio.send_newsletter, "retry": studio.retry_failed_mails}
        await look_up(buttons, request.path_params["button"])()
        return Response(status_code=202)

    async def away(_: Request, exc: Exception) -> Response:
        return PlainTextResponse("The store cannot be reached now; nothing was sent.", 503)

    @asynccontextmanager
    async def watching(_: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(studio.watch())
        yield
        watch.cancel()

    # A button has its answer as soon as the store has the message.
    routes = [
        Route("/", static),
        Route("/static/{name}", static),
        Route("/events", events),
        Route("/pictures", upload, methods=["POST"]),
        Route("/pictures/{picture:uuid}", drop, methods=["DELETE"]),
        Route("/pictures/{picture:uuid}/{name}", made),
        Route("/newsletter/{button}", newsletter, methods=["POST"]),
    ]
    return Starlette(
        routes=[*routes, *more],
        middleware=[Middleware(Guard)],
        exception_handlers={OperationalError: away},
        lifespan=watching,
    )


def look_up(things: Mapping[str, Any], name: str) -> Any:
    if name not in things:
        raise HTTPException(404)
    return things[name]
