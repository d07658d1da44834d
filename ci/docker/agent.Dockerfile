# The agent, for pods:
#
#   docker build -f ci/docker/agent.Dockerfile --build-arg BACKEND=s3 -t registry.example/dagferry-agent:0.1.0 .
#
# BASE      what both stages start from; for a build that can be repeated name it by digest (python@sha256:…)
# BACKEND   s3, gcs, or none: a store in a directory
#
# It runs as 65532, writes to --root and nowhere else, and works with a read-only root file system.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG BACKEND=none
COPY setup.cfg pyproject.toml README.md LICENSE /source/
COPY schemas /source/schemas
COPY storage /source/storage
COPY builder /source/builder
COPY agent /source/agent
RUN case "$BACKEND" in \
        none) extras=agent ;; \
        s3 | gcs) extras="agent,$BACKEND" ;; \
        *) echo "error: BACKEND is '$BACKEND', and has to be s3, gcs or none" >&2; exit 2 ;; \
    esac \
    && python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check "/source[$extras]"

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["dagferry-agent"]
