# The API by default; the worker with another command (docker-compose.yml).
FROM python:3.13-slim

ARG LANE=pymongo
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONPATH=/agora PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

RUN useradd --system --uid 10001 --no-create-home agora
WORKDIR /agora

# The packages first: they change less often than the code.
COPY pyproject.toml README.md LICENSE ./
COPY constraints constraints
RUN mkdir models services api scripts \
    && pip install -c constraints/${LANE}.txt ".[${LANE},stripe]" \
    && pip uninstall --yes agora

COPY models models
COPY services services
COPY api api
COPY scripts scripts

USER agora
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "scripts.serve", "--host", "0.0.0.0", "--port", "8000"]
