"""Who may talk to a server that has no log-in: the person at this machine, and no page of another site."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = {"GET", "HEAD"}
HEADERS = {
    # Only our own files, no inline code, no other site: were markup to get into the page, it could do nothing.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses what another site has a browser send, and adds the headers above to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        # A name of another site can be made to lead to 127.0.0.1; then the browser sends that name as the host.
        if host.partition(":")[0] not in {"127.0.0.1", "localhost"}:
            return await PlainTextResponse("Unknown host.", 400)(scope, receive, send)
        if scope["method"] not in SAFE_METHODS and origin not in {None, f"http://{host}"}:
            return await PlainTextResponse("Not from here.", 403)(scope, receive, send)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_guarded)
