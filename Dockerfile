# docker build -t phi1_jax .
# docker build -t phi1_jax:gpu --build-arg EXTRAS=api,data,hf,hub,plots,serve,gpu .   (CUDA comes as wheels)
# docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" phi1_jax evaluate --help
# With GPUs, by NVIDIA's container toolkit: docker run --gpus=all --shm-size=1g ...
FROM python:3.12-slim
ARG EXTRAS=api,data,hf,hub,plots,serve
COPY . /source
RUN pip install --no-cache-dir "/source[${EXTRAS}]" && rm -rf /source
# Any user may run it, also one that the image does not know: caches go where all may write.
RUN mkdir -m 777 /work
ENV HOME=/tmp
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["phi1"]
CMD ["--help"]
