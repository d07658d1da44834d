# The builder, for CI jobs that run in an image:
#
#   docker build -f ci/docker/builder.Dockerfile --build-arg BACKEND=s3 -t registry.example/dagferry-builder:0.1.0 .
#
# BASE      what both stages start from; for a build that can be repeated name it by digest (python@sha256:…)
# BACKEND   s3, gcs, or none: a store in a directory
#
# It runs as 65532 and needs a writable /tmp only. git refuses a clone that belongs to another user: run it as the owner of
# the clone. Production's Airflow, which lint wants, is not in it; docs/lint.md says how lint is told where that is.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG BACKEND=none
COPY setup.cfg pyproject.toml README.md LICENSE /source/
COPY schemas /source/schemas
COPY storage /source/storage
COPY builder /source/builder
COPY agent /source/agent
RUN case "$BACKEND" in \
        none) extras=builder ;; \
        s3 | gcs) extras="builder,$BACKEND" ;; \
        *) echo "error: BACKEND is '$BACKEND', and has to be s3, gcs or none" >&2; exit 2 ;; \
    esac \
    && python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check "/source[$extras]"

FROM ${BASE}
# The base says which Debian; a version of git would keep its fixes away.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["dagferry"]
