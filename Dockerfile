# syntax=docker/dockerfile:1
#
# Two targets:
#   docker build --target cpu  -t evopose .
#   docker build --target cuda -t evopose:cuda .   (run with --gpus all)

FROM golang:1.26-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build -trimpath -ldflags='-s -w' -o /out/evopose . \
 && EVOPOSE_CACHE=/tmp/cache /out/evopose runtime --install \
 && find /tmp/cache -name 'libonnxruntime*' -exec cp {} /out/ \;

FROM build AS build-cuda
RUN EVOPOSE_CACHE=/tmp/cuda /out/evopose runtime --install --provider cuda \
 && mkdir /out-cuda && cp /out/evopose /out-cuda/ \
 && find /tmp/cuda -name 'libonnxruntime*' -exec cp {} /out-cuda/ \;

FROM debian:bookworm-slim AS cpu
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl libstdc++6 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /app evopose
WORKDIR /app
COPY --from=build /out/ /app/
COPY models/ /app/models/
USER 10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD curl -fsS http://127.0.0.1:8080/readyz
ENTRYPOINT ["/app/evopose"]
CMD ["serve"]

FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 AS cuda
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /app evopose
WORKDIR /app
COPY --from=build-cuda /out-cuda/ /app/
COPY models/ /app/models/
USER 10001
EXPOSE 8080
ENV EVOPOSE_PROVIDER=cuda
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s CMD curl -fsS http://127.0.0.1:8080/readyz
ENTRYPOINT ["/app/evopose"]
CMD ["serve"]
