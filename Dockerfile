FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8080
WORKDIR /gateway
# requirements-opentelemetry.txt is with what traces need.
ARG REQUIREMENTS=requirements.txt
COPY requirements*.txt ./
RUN pip install --no-cache-dir -r $REQUIREMENTS \
 && useradd --system --no-create-home gateway \
 && mkdir /data && chown gateway /data
COPY . .
USER gateway
EXPOSE 8080
CMD ["python", "-m", "gateway.workers"]
