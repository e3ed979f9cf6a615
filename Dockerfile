# The images of OpenBourse. gitops/bootstrap/kind/images.sh makes the build context (wheels/dependencies, wheels/own,
# gitops/platform/postgresql and .../redis) and names the base: any Debian 12 with Python 3.11 and its venv.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS postgresql
# A fixed user, whom the package keeps; no database at install; no JIT, whose compiler is larger than the server.
RUN groupadd --gid 65533 postgres && useradd --uid 65533 --gid 65533 --home-dir /var/lib/postgresql --no-create-home postgres \
 && mkdir /etc/postgresql-common && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/* \
      /usr/lib/*/libLLVM-14.so* /usr/lib/postgresql/15/lib/llvmjit* /usr/lib/postgresql/15/lib/bitcode \
 && install -d -o 65533 -g 65533 /var/lib/postgresql/data /run/postgresql
COPY gitops/platform/postgresql/entrypoint.sh /usr/local/bin/postgresql-entrypoint
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data/main LANG=C.UTF-8
USER 65533:65533
EXPOSE 5432
# PostgreSQL's word for a fast shutdown: sessions are ended, the data is consistent, nothing waits for clients.
STOPSIGNAL SIGINT
ENTRYPOINT ["postgresql-entrypoint"]

FROM ${BASE_IMAGE} AS redis
RUN groupadd --gid 65531 redis && useradd --uid 65531 --gid 65531 --home-dir /run/redis --no-create-home redis \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/* /etc/redis \
 && install -d -o 65531 -g 65531 /run/redis
COPY gitops/platform/redis/entrypoint.sh /usr/local/bin/redis-entrypoint
COPY gitops/platform/redis/probe.sh /usr/local/bin/redis-probe
USER 65531:65531
EXPOSE 6379
ENTRYPOINT ["redis-entrypoint"]

FROM ${BASE_IMAGE} AS dependencies
COPY wheels/dependencies /wheels
RUN python3 -m venv /opt/openbourse && /opt/openbourse/bin/pip install --no-index --no-deps --no-cache-dir -q /wheels/*.whl

FROM ${BASE_IMAGE} AS openbourse
RUN groupadd --gid 65532 openbourse && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent openbourse
# An HSM in software, for an exchange that has no other: its token lies on a volume. nft, for rehearsals, which cut
# engines off with it.
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends softhsm2 nftables \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
COPY --from=dependencies /opt/openbourse /opt/openbourse
COPY wheels/own /wheels
RUN /opt/openbourse/bin/pip install --no-index --no-deps --no-cache-dir -q /wheels/*.whl
ENV PATH=/opt/openbourse/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
USER 65532:65532
ENTRYPOINT ["openbourse"]
