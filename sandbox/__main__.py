"""`python -m sandbox`: serve the vendor sandbox over HTTP."""

from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from sandbox.app import create_app


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8090,
    state: Annotated[
        Path | None, typer.Option(help="File that keeps Shopify's discounts and metafields. Default: none.")
    ] = None,
) -> None:
    """Serve simulated Shopify, Klaviyo, Omnisend and Postscript APIs."""
    uvicorn.run(create_app(state), host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    typer.run(serve)
