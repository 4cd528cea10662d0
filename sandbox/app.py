"""The sandbox application: the simulated vendor APIs, and `/_sandbox` to inspect and control them."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException

from sandbox.faults import Fault
from sandbox.klaviyo import Klaviyo
from sandbox.omnisend import Omnisend
from sandbox.postscript import Postscript
from sandbox.saved import Saved
from sandbox.shopify import Shopify
from sandbox.vendor import Vendor


def create_app(state: Path | None = None) -> FastAPI:
    """Create a sandbox with its own state, in memory; with a file for what shops have, which is read now."""
    app = FastAPI(title="Pointsaga sandbox")
    vendors: dict[str, Vendor] = {
        vendor.name: vendor for vendor in (Shopify(Saved(state)), Klaviyo(), Omnisend(), Postscript())
    }
    for vendor in vendors.values():
        app.include_router(vendor.router, tags=[vendor.name])
    app.include_router(_control_router(vendors))
    return app


def _control_router(vendors: dict[str, Vendor]) -> APIRouter:
    router = APIRouter(tags=["control"])

    def find_vendor(name: str) -> Vendor:
        if name not in vendors:
            raise HTTPException(404, f"unknown vendor `{name}`; vendors: {', '.join(vendors)}")
        return vendors[name]

    @router.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/_sandbox/{vendor}")
    async def show(vendor: str) -> dict[str, Any]:
        return find_vendor(vendor).view()

    @router.post("/_sandbox/{vendor}/faults", status_code=201)
    async def add_fault(vendor: str, fault: Fault) -> Fault:
        found = find_vendor(vendor)
        if fault.operation not in {None, *found.operations}:
            operations = ", ".join(sorted(found.operations))
            raise HTTPException(422, f"unknown operation `{fault.operation}`; operations: {operations}")
        found.script.add(fault)
        return fault

    @router.delete("/_sandbox/{vendor}/faults", status_code=204)
    async def clear_faults(vendor: str) -> None:
        find_vendor(vendor).script.clear()

    @router.delete("/_sandbox", status_code=204)
    async def reset() -> None:
        for vendor in vendors.values():
            vendor.reset()

    return router
