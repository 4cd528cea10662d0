# One image for API, worker, migrations and vendor sandbox; the command selects one.
# Dependencies are installed in a separate stage, so that the image contains neither pip nor its cache.
FROM python:3.12.13-slim-bookworm AS dependencies

COPY requirements-image.lock /
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary=:all: \
      -r /requirements-image.lock \
 && /venv/bin/pip uninstall --yes --quiet pip


FROM python:3.12.13-slim-bookworm

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin pointsaga
COPY --from=dependencies /venv /venv
COPY . /app
# The command `pointsaga`, without installing the project as a package.
RUN printf '#!/bin/sh\nexec python -m cli "$@"\n' > /usr/local/bin/pointsaga \
 && chmod 755 /usr/local/bin/pointsaga \
 && python -m compileall -q /app

# Version of the worker. Empty: unversioned. See docs/deploying.md.
ARG BUILD_ID=
ENV WORKER_BUILD_ID=$BUILD_ID

ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001

EXPOSE 8080
CMD ["python", "-m", "uvicorn", "api.app:create_app", "--factory", "--host", "0.0.0.0", "--port", "8080", "--timeout-graceful-shutdown", "30"]
