"""The wheel holds launch/, configs/ and models/ too, for the command `phi1`; see setup.cfg."""

from setuptools import find_packages, setup

# Folder -> its place. Not right below phi1_jax: scripts put the folder that holds configs/ on their
# path, and there modules such as phi1_jax/config.py would take other packages' names.
SHIPPED = {
    "phi1_jax._repository.launch": "launch",
    "phi1_jax._repository.configs": "configs",
    "phi1_jax._repository.configs.ablations": "configs/ablations",
    "phi1_jax._repository.configs.sources": "configs/sources",
    "phi1_jax._repository.benchmarks": "benchmarks",
    "phi1_jax._repository.models.phi1_tiny": "models/phi1_tiny",
}
setup(packages=[*find_packages(include=["phi1_jax*"]), *SHIPPED], package_dir=SHIPPED)
