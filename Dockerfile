# One image for the roles web, api and worker and for the migrate job; docker-compose.yml says which command each runs.
# The right torch build for a machine comes from the wheel index you name:
#   docker compose build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu
FROM python:3.12-slim

ARG TORCH_INDEX=""
WORKDIR /srv/idiolect
COPY requirements.txt constraints.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then \
      pip install --no-cache-dir "$(grep '^torch==' requirements.txt)" --index-url "$TORCH_INDEX"; \
    fi \
 && pip install --no-cache-dir -r requirements.txt -c constraints.txt

COPY base_model base_model
COPY migrations migrations
COPY storage storage
COPY tuning tuning
COPY app app

# Base models named by id are fetched into a volume that this user owns.
RUN useradd --system --uid 10001 --create-home idiolect && install -d -o idiolect /models
USER idiolect
# Threads that spin while they wait starve whatever shares the processor.
ENV OMP_WAIT_POLICY=PASSIVE HF_HOME=/models PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

EXPOSE 8000 8001
CMD ["python", "-m", "gunicorn", "--config=python:app.web.server", "--bind=0.0.0.0:8000", "app.web.factory:create_app()"]
