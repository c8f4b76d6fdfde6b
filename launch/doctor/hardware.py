"""The accelerators of this computer, whether jax uses them or not, as the kernel and the makers' tools know them. Imports no jax."""

import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from varietas.configs.machines.base import MAKERS, PLUGINS
from varietas.launch.doctor.finding import BROKEN, OK, SLOW, Finding

PCI = Path("/sys/bus/pci/devices")
VENDORS = {"0x10de": "cuda", "0x1002": "rocm", "0x1ae0": "tpu"}  # NVIDIA, AMD, Google
CLASSES = ("0x0300", "0x0302", "0x0380", "0x1200")  # display and 3D controllers, accelerators
OLDEST_DRIVER = {"jax-cuda13-plugin": 580, "jax-cuda12-plugin": 525}  # of NVIDIA, by jax's installation page
TIMEOUT = 20  # seconds for a maker's tool
HOTTEST = 85  # degrees Celsius


@dataclass(frozen=True)
class Accelerators:
    """Accelerators of one kind."""

    platform: str  # cuda, rocm or tpu
    count: int


def accelerators() -> Accelerators | None:
    """Returns the accelerators that this computer has; None if it has none, or the kernel does not show them."""
    found: dict[str, int] = {}
    for device in PCI.iterdir() if PCI.is_dir() else ():
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor in VENDORS and kind.startswith(CLASSES):
            found[VENDORS[vendor]] = found.get(VENDORS[vendor], 0) + 1
    driven = {"cuda": len(list(Path("/dev").glob("nvidia[0-9]*"))), "rocm": _compute_nodes(), "tpu": len(list(Path("/dev").glob("accel*")))}
    for platform, count in driven.items():
        if count:  # those that a driver serves; a laptop's graphics card that computes nothing is not among them
            return Accelerators(platform, count)
    if nvidia := found.get("cuda", 0):
        return Accelerators("cuda", nvidia)
    return None


def _compute_nodes() -> int:
    """The GPUs that AMD's compute driver serves. Nodes of its topology without SIMD units are processors."""
    nodes = Path("/sys/class/kfd/kfd/topology/nodes").glob("*/properties")
    return sum(any(line.startswith("simd_count ") and line.split()[1] != "0" for line in _read(node).splitlines()) for node in nodes)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def plugin(platform: str) -> tuple[str, str] | None:
    """Returns name and version of the installed package with which jax uses this platform."""
    for name in PLUGINS[platform]:
        try:
            return name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def unused(jax_platform: str) -> Finding | None:
    """Returns what to do if this computer has accelerators that jax does not use.

    Args:
        jax_platform: `platform` of jax's devices.
    """
    here = accelerators()
    if here is None or jax_platform != "cpu":
        return None
    has = f"this computer has {here.count} {MAKERS[here.platform]} device{'s' * (here.count > 1)}, but jax runs on the CPU"
    package = plugin(here.platform)
    if package is None:
        return Finding("accelerators", BROKEN, has, f"pip install 'varietas[{here.platform}]'")
    name, version = package
    jaxlib = metadata.version("jaxlib")
    if here.platform != "tpu" and version.split(".")[:3] != jaxlib.split(".")[:3]:
        return Finding("accelerators", BROKEN, f"{has}: {name} {version} is not of jaxlib {jaxlib}", f"pip install '{name}=={jaxlib}'")
    if here.platform == "cuda" and (driver := nvidia("driver_version")) and int(driver[0].split(".")[0]) < OLDEST_DRIVER.get(name, 0):
        todo = "pip install 'varietas[cuda12]', or ask for a newer driver" if name == "jax-cuda13-plugin" else "ask for a newer driver"
        return Finding("accelerators", BROKEN, f"{has}: the driver {driver[0]} is too old for {name}", todo)
    if here.platform == "rocm" and not (Path("/opt/rocm").exists() or shutil.which("rocm-smi")):
        return Finding(
            "accelerators", BROKEN, f"{has}: {name} needs ROCm, which is not here", "use the container launch/containers/rocm.def"
        )
    flag = {"cuda": "in a container, start it with --nv; ", "rocm": "in a container, start it with --rocm; "}.get(here.platform, "")
    todo = f"{flag}unset JAX_PLATFORMS; `JAX_PLATFORMS={here.platform} varietas doctor` shows the error of the driver"
    return Finding("accelerators", BROKEN, f"{has}, although {name} {version} is installed", todo)


def nvidia(*fields: str) -> list[str]:
    """Returns what nvidia-smi says of these fields, a line for each GPU with commas between the fields; none if it does not answer."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def driver() -> Finding | None:
    """Returns the version of the driver, and what it says about the health of the devices; None without a GPU."""
    here = accelerators()
    if here is None or here.platform == "tpu":
        return None
    if here.platform == "rocm":
        return _amd()
    lines = nvidia("driver_version", "name", "memory.used", "temperature.gpu", "ecc.errors.uncorrected.volatile.total")
    if not lines:
        return Finding(
            "driver", BROKEN, "nvidia-smi does not answer", "the driver is not loaded or hangs: take another node, and tell the help desk"
        )
    for number, line in enumerate(lines):
        version, name, used, heat, errors = (part.strip() for part in line.split(","))
        if errors.isdigit() and int(errors):
            return Finding(
                "driver", BROKEN, f"GPU {number} ({name}) has {errors} memory errors", "take another node, and tell the help desk"
            )
        if used.isdigit() and int(used) > 1000:
            return Finding(
                "driver", SLOW, f"{used} MiB of GPU {number} are in use already", "another program runs there: nvidia-smi shows which"
            )
        if heat.isdigit() and int(heat) > HOTTEST:
            return Finding("driver", SLOW, f"GPU {number} has {heat} °C and will lower its clock", "tell the help desk")
    version, name = (part.strip() for part in lines[0].split(",")[:2])
    return Finding("driver", OK, f"NVIDIA {version}, {len(lines)} × {name}")


def _amd() -> Finding:
    """The kernel's driver and ROCm, whose libraries jax's plugin loads."""
    kernel, rocm = _read(Path("/sys/module/amdgpu/version")).strip(), _read(Path("/opt/rocm/.info/version")).strip()
    said = f"amdgpu {kernel or 'of the kernel'}, ROCm {rocm or 'not found in /opt/rocm'}"
    package, wanted = plugin("rocm"), f"jax-rocm{rocm.split('.')[0]}-plugin"
    if rocm and package and package[0] != wanted:
        return Finding("driver", BROKEN, f"{said}, but {package[0]} is installed", f"pip uninstall {package[0]}; pip install {wanted}")
    return Finding("driver", OK, said)
