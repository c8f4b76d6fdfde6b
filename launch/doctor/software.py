"""Python and its packages: versions that fit each other."""

import os
import platform
import site
import tomllib
from importlib import metadata, util
from pathlib import Path

from packaging.requirements import Requirement

import varietas
from varietas.configs.machines.base import PLUGINS
from varietas.data.packages import version_of
from varietas.launch.doctor.finding import BROKEN, OK, Finding

SHOWN = ("jax", "jaxlib", "flax", "orbax-checkpoint", "grain", "numpy")
PYTHONS = ((3, 11), (3, 14))  # the first that is supported, and the first that is not


def software() -> list[Finding]:
    """Returns findings on Python, on the packages that Varietas needs, and on jax's plugins."""
    return [_python(), _packages(), _plugins()]


def _python() -> Finding:
    version = platform.python_version()
    if not PYTHONS[0] <= tuple(map(int, platform.python_version_tuple()[:2])) < PYTHONS[1]:
        return Finding("Python", BROKEN, f"{version}; Varietas needs 3.11 to 3.13", "make another environment with such a Python")
    spec = util.find_spec("jax")
    contained = os.environ.get("APPTAINER_NAME") or os.environ.get("SINGULARITY_NAME")
    if contained and spec and spec.origin and spec.origin.startswith(site.getusersitepackages()):
        said = f"{version} in the container {contained}, but jax comes from {site.getusersitepackages()}"
        return Finding("Python", BROKEN, said, "export PYTHONNOUSERSITE=1")
    return Finding("Python", OK, version + (f" in the container {contained}" if contained else ""))


def _packages() -> Finding:
    wrong = [said for requirement in (*_requirements(), *_of("jax"), *_of("flax")) if (said := _unmet(requirement))]
    if wrong:
        return Finding(
            "packages", BROKEN, "; ".join(dict.fromkeys(wrong)), "pip install --constraint constraints.txt . (in the repository)"
        )
    return Finding("packages", OK, ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN))


def _requirements() -> list[str]:
    """Returns what Varietas needs, from its checkout or from what is installed of it."""
    project = Path(str(varietas.__file__)).absolute().parents[2] / "pyproject.toml"
    if project.is_file():
        return list(tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"])
    return _of("varietas")


def _of(package: str) -> list[str]:
    try:
        return metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []


def _unmet(text: str) -> str:
    """Says what is missing of a requirement; "" if nothing is. Requirements of extras do not count."""
    requirement = Requirement(text)
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return ""
    version = version_of(requirement.name)
    if version is None:
        return f"{requirement.name} is missing"
    return (
        "" if requirement.specifier.contains(version, prereleases=True) else f"{requirement.name} {version}, wanted {requirement.specifier}"
    )


def _plugins() -> Finding:
    """jax's plugins for accelerators: of one version with jaxlib, and not two for the same devices."""
    installed = {name: version for names in PLUGINS.values() for name in names if (version := version_of(name))}
    jaxlib = version_of("jaxlib") or ""
    for names in PLUGINS.values():
        if len(both := [name for name in names if name in installed]) > 1:
            return Finding("jax plugins", BROKEN, f"{' and '.join(both)} are both installed", f"pip uninstall {both[1]}")
    for name, version in installed.items():
        if name != "libtpu" and version.split(".")[:3] != jaxlib.split(".")[:3]:
            return Finding("jax plugins", BROKEN, f"{name} {version} is not of jaxlib {jaxlib}", f"pip install '{name}=={jaxlib}'")
    return Finding("jax plugins", OK, ", ".join(f"{name} {version}" for name, version in installed.items()) or "none: jax runs on the CPU")
