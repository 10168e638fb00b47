# LCH in a container: `docker build -t lch .`. It runs as any user of group 0, and writes only to /app/instance (mailboxes).
FROM python:3.11-slim AS build
RUN python -m venv --without-pip /venv
COPY requirements.txt /
RUN pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check -r /requirements.txt

FROM python:3.11-slim
COPY --from=build /venv /venv
WORKDIR /app
COPY config.py gunicorn.conf.py wsgi.py ./
COPY lchook lchook
COPY client client
# OpenShift and others start containers as a user of their own choice, whom the image does not know, in group 0. All may read
# what is there, whatever the umask of the copy was; group 0 may write in the one folder that is written to.
RUN useradd --system --uid 10001 --gid 0 --no-create-home --shell /usr/sbin/nologin lch \
  && chmod -R a+rX . \
  && install -d -o lch -g 0 -m 770 instance
ENV PATH="/venv/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# gunicorn's sign of life is a file; on a slow disk it would be late.
ENV GUNICORN_CMD_ARGS="--worker-tmp-dir /dev/shm"
USER 10001
EXPOSE 5600
# Mount a volume here, or messages that wait are gone with the container. With STORE_URL=redis://… nothing is kept here.
VOLUME /app/instance
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["python", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 5600), timeout=2); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
# The list form, so that SIGTERM reaches gunicorn itself.
CMD ["gunicorn", "wsgi:app"]
