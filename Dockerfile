# stereosr as a service: docker build -t stereosr . && docker run --rm -p 127.0.0.1:8000:8000 stereosr
# For NVIDIA GPUs: docker build --build-arg RUNTIME=gpu -t stereosr:gpu . && docker run --rm --gpus all -p ... stereosr:gpu
FROM python:3.11-slim AS build
# cpu or gpu, as in docs/install.md; gpu brings CUDA and cuDNN along.
ARG RUNTIME=cpu
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir --root-user-action ignore --prefix /installed -c constraints.txt ".[${RUNTIME},video,heic,serve]"

FROM python:3.11-slim
COPY --from=build /installed /usr/local
RUN useradd --create-home --uid 10001 stereosr
USER 10001
WORKDIR /data
# What NVIDIA's container toolkit lends to those that are started with --gpus.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["stereosr"]
CMD ["serve", "--host", "0.0.0.0"]
