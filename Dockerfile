# CPU:   docker build -t lift_jax .
# CUDA:  docker build -t lift_jax:cuda12 --build-arg EXTRAS=cuda12 .
# .mha:  --build-arg EXTRAS=cuda12,itk
FROM python:3.12-slim

ARG EXTRAS=""

COPY pyproject.toml requirements.txt README.md LICENSE /source/
COPY lift_jax /source/lift_jax
COPY configs /source/configs
RUN pip install --no-cache-dir "/source${EXTRAS:+[$EXTRAS]}" && rm -rf /source/build

RUN useradd --create-home --uid 1000 lift
USER lift
WORKDIR /work
ENTRYPOINT ["lift-jax"]
CMD ["--help"]
