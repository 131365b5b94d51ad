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
RUN apt-get update && apt-get install -y --no-install-recommends unzip && rm -rf /var/lib/apt/lists/*
# The same pair as model/ort/pins.go, in the build with the CUDA provider.
RUN python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.11 --implementation cp \
      --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 -d /tmp/gpu onnxruntime-gpu==1.27.0 \
 && echo "404fb845dc06a04a28df5a2c6d5967bcf3f534e7df0b98507ff81686a1b49594  $(echo /tmp/gpu/*.whl)" | sha256sum -c - \
 && mkdir /out-cuda && cp /out/evopose /out-cuda/ \
 && unzip -q -j /tmp/gpu/*.whl 'onnxruntime/capi/libonnxruntime*' -d /out-cuda \
 && rm /out-cuda/libonnxruntime_providers_tensorrt.so \
 && ln -s libonnxruntime.so.1.27.0 /out-cuda/libonnxruntime.so

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
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD listen=${EVOPOSE_LISTEN:-:8080}; curl -fsS http://127.0.0.1:${listen##*:}/readyz
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
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s CMD listen=${EVOPOSE_LISTEN:-:8080}; curl -fsS http://127.0.0.1:${listen##*:}/readyz
ENTRYPOINT ["/app/evopose"]
CMD ["serve"]
