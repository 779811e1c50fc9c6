# The gateway, its bridge and its commands, without what only `make run` needs. deploy/README.md says
# how the digest is kept up to date.
FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/venv/bin:$PATH

FROM base AS installed
# requirements-opentelemetry.txt is with what traces need.
ARG REQUIREMENTS=requirements-production.txt
COPY requirements*.txt /
RUN python -m venv /venv \
 && pip install --no-cache-dir --disable-pip-version-check -r /$REQUIREMENTS

FROM base
# By number, so that Kubernetes sees that it is not root.
RUN useradd --system --no-create-home --uid 10001 gateway \
 && install -d -o gateway /data
COPY --from=installed /venv /venv
WORKDIR /gateway
COPY . .
RUN python -m compileall -q .
ENV HOST=0.0.0.0 PORT=8080
USER 10001
EXPOSE 8080
CMD ["python", "-m", "gateway.workers"]
