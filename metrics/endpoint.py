"""`GET /metrics` of a process: our metrics, then those of Temporal's SDK, in Prometheus' text format.

On an address of its own, as the API's is public. A thread serves it, beside the process's event loop.
"""

import socket
import threading
import urllib.request
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

_SDK_TIMEOUT_SECONDS = 2


@contextmanager
def serve(registry: CollectorRegistry, address: str | None) -> Generator[str | None]:
    """Serve the metrics of this process at `host:port` until the block ends. None: not at all.

    Yields the address at which the SDK's runtime must serve its own metrics, which are appended: a free port on
    loopback. Raises `OSError` if the port is in use.
    """
    if address is None:
        yield None
        return
    host, _, port = address.rpartition(":")
    sdk_address = f"127.0.0.1:{_free_port()}"
    with make_server(host, int(port), _application(registry, sdk_address), _Server, _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield sdk_address
        finally:
            server.shutdown()
            thread.join()


def _application(registry: CollectorRegistry, sdk_address: str) -> Callable[..., Iterable[bytes]]:
    def respond(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"GET /metrics\n"]
        body = generate_latest(registry) + _of_sdk(sdk_address)
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)])
        return [body]

    return respond


def _of_sdk(address: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=_SDK_TIMEOUT_SECONDS) as response:
        return response.read()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log no scrape."""


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]
