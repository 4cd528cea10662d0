"""The four vendors behind one address, and under `/_sandbox` the strings they hang on."""

from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException

from sandbox.faults import Fault
from sandbox.klaviyo import Klaviyo
from sandbox.omnisend import Omnisend
from sandbox.postscript import Postscript
from sandbox.shopify import Shopify
from sandbox.vendor import Vendor


def create_app() -> FastAPI:
    """A sandbox of its own: nothing is shared with another app, and nothing outlives it."""
    app = FastAPI(title="Pointsaga sandbox")
    vendors: dict[str, Vendor] = {vendor.name: vendor for vendor in (Shopify(), Klaviyo(), Omnisend(), Postscript())}
    for vendor in vendors.values():
        app.include_router(vendor.router, tags=[vendor.name])
    app.include_router(_control(vendors))
    return app


def _control(vendors: dict[str, Vendor]) -> APIRouter:
    router = APIRouter(tags=["control"])

    def named(name: str) -> Vendor:
        if name not in vendors:
            raise HTTPException(404, f"no vendor `{name}`; there are: {', '.join(vendors)}")
        return vendors[name]

    @router.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/_sandbox/{vendor}")
    async def look(vendor: str) -> dict[str, Any]:
        return named(vendor).view()

    @router.post("/_sandbox/{vendor}/faults", status_code=201)
    async def script(vendor: str, fault: Fault) -> Fault:
        operations = named(vendor).operations
        if fault.operation is not None and fault.operation not in operations:
            raise HTTPException(422, f"{vendor} has no operation `{fault.operation}`; it has: {_words(operations)}")
        named(vendor).script.add(fault)
        return fault

    @router.delete("/_sandbox/{vendor}/faults", status_code=204)
    async def clear(vendor: str) -> None:
        named(vendor).script.clear()

    @router.delete("/_sandbox", status_code=204)
    async def reset() -> None:
        for vendor in vendors.values():
            vendor.reset()

    return router


def _words(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
