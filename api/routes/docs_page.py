"""GET /docs, the documentation page. It loads nothing from elsewhere, and keeps the API key until the tab closes."""

import base64
import hashlib
import re

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

router = APIRouter()

STATIC_URL = "/static-offline-docs"

# Swagger UI can keep the key, but in local storage, which outlives the tab and the session.
_STORAGE = "<script>Object.defineProperty(window, 'localStorage', {value: window.sessionStorage})</script>"


@router.get("/docs", include_in_schema=False)
async def show_docs_page(request: Request) -> HTMLResponse:
    """The page. Its addresses are relative, so that a proxy can add a prefix."""
    swagger = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=request.app.title,
        swagger_js_url=f".{STATIC_URL}/swagger-ui-bundle.js",
        swagger_css_url=f".{STATIC_URL}/swagger-ui.css",
        swagger_favicon_url=f".{STATIC_URL}/favicon.png",
        swagger_ui_parameters={"persistAuthorization": True},
    )
    page = bytes(swagger.body).decode().replace("<head>", f"<head>{_STORAGE}", 1)
    headers = {
        "Content-Security-Policy": _policy(page),
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(page, headers=headers)


def _policy(page: str) -> str:
    """Everything from this server only, and of inline scripts only the page's own. Users enter API keys here."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
