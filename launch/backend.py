"""Starts jax the way Varietas needs it: virtual devices on a CPU, a compilation cache that outlives the process, quiet libraries.

What the user has set, in the environment or in jax itself, stays.
"""

import logging
import multiprocessing
import os
import re
import sys
import warnings
from typing import TYPE_CHECKING

from varietas.data.files import cache_folder
from varietas.launch.distributed.environment import find, forgotten
from varietas.launch.distributed.meeting import join, joined

if TYPE_CHECKING:
    from jax import Device

MOST_DEVICES = 1024  # of a CPU: each costs threads and memory
HUGE_PAGES = "glibc.malloc.hugetlb=1"  # the value of GLIBC_TUNABLES that asks for them
QUIET = ("absl", "orbax", "jax._src.xla_bridge", "jax._src.compiler", "grain")  # loggers whose warnings are not for users
MIN_COMPILE_TIME = "jax_persistent_cache_min_compile_time_secs"  # programs that compile faster are not kept
PLUGINS = {"cuda": "varietas[cuda]", "gpu": "varietas[cuda]", "rocm": "varietas[rocm]", "tpu": "varietas[tpu]"}  # what pip has to install

COORDINATION = "CoordinationService"  # names jax's connection to other processes in its errors

log = logging.getLogger("varietas")


def on_huge_pages() -> None:
    """Restarts this program in its own process with glibc allocating pages of 2 MB, which glibc decides when a program starts.

    XLA's CPU backend allocates the memory of each step anew: with pages of 4 KB, that takes a seventh of the step.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": HUGE_PAGES})


def stop_second_run() -> None:
    """Ends a worker process that runs the user's script from its top, because the script has no guard. Workers are started from there."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # set while a worker imports the main script
        message = 'a worker process runs this script again from its top; put what the script does under `if __name__ == "__main__":`'
        print(f"varietas: {message}", file=sys.stderr, flush=True)
        raise SystemExit(1)


def cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes() -> tuple[int, int]:
    """Returns how many processes work together, and how many of them on this computer."""
    process = joined() or find(os.environ)
    return (process.count, process.local_count) if process else (1, 1)


def begun() -> bool:
    """Whether jax has begun, in a notebook for example. The number of virtual devices is fixed from then on."""
    import jax

    before = jax.config.values["jax_num_cpu_devices"]
    try:
        jax.config.update("jax_num_cpu_devices", before + 1)  # jax accepts another value until it begins
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", before)
    return False


def start(default: int | None = None, asked: int | None = None) -> int:
    """Configures jax, unless it has begun, and starts it. Warns of accelerators that it does not use, and if `asked` comes too late.

    Args:
        default: The number of virtual devices on a CPU, if the environment does not say it.
        asked: The number that the user asks for, whatever the environment says.

    Returns:
        The number of devices.

    Raises:
        ValueError: If `asked` cannot be, or jax cannot start on the platform that JAX_PLATFORMS names.
    """
    if asked is not None and (type(asked) is not int or not 1 <= asked <= MOST_DEVICES):
        raise ValueError(f"cpu_devices={asked!r}: expected a whole number from 1 to {MOST_DEVICES:,}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # hides notes of XLA's C++ code
    import jax

    from varietas.launch.doctor.hardware import unused  # numpy, for which `--help` does not wait

    if not {"JAX_LOGGING_LEVEL", "JAX_DEBUG_LOG_MODULES"} & os.environ.keys():
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="orbax")
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    if jax.config.values[MIN_COMPILE_TIME] == 1 and MIN_COMPILE_TIME.upper() not in os.environ:  # 1 is jax's default
        jax.config.update(MIN_COMPILE_TIME, 0.02)  # a checkpoint needs many small programs
    had_begun = begun()
    if not had_begun and (process := find(os.environ)):
        join(process)  # unless the command line has done it
    count = asked or (None if _count_is_set() else default)
    if count is not None and not had_begun:
        jax.config.update("jax_num_cpu_devices", count)
    devices = _devices()
    found, platform = len(jax.local_devices()), devices[0].platform
    if asked is not None and asked != found:
        why = f"jax had begun with {found}" if had_begun and platform == "cpu" else f"jax runs on {found} x {platform}"
        how = "start Python anew to change that" if platform == "cpu" else "JAX_PLATFORMS=cpu chooses the CPU"
        log.warning("cpu_devices=%d is not followed: %s; %s", asked, why, how)
    if (alone := forgotten(os.environ)) and joined() is None:
        log.warning("%s", alone)
    if os.environ.get("JAX_PLATFORMS") != "cpu" and (finding := unused(platform)):
        log.warning("%s; %s", finding.said, finding.todo)
    return len(devices)


def _count_is_set() -> bool:
    """Whether the user has set a number of virtual devices."""
    import jax

    return jax.config.values["jax_num_cpu_devices"] >= 0 or "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")


def _devices() -> "list[Device]":
    """Starts jax and returns its devices. Raises ValueError, in one line, if jax cannot start."""
    import jax

    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # an assertion fails if there is no GPU
        if COORDINATION in str(error):  # another process is lost
            raise
        raise ValueError(_why_not(jax.config.values["jax_platforms"] or "", " ".join(str(error).split()))) from error


def _why_not(platforms: str, error: str) -> str:
    """Says in one line why jax does not start, and what to do."""
    wanted = platforms.split(",")[0]
    what = f"JAX_PLATFORMS={platforms}: " if platforms else ""
    why = re.sub(r" \(.*|^Unable to initialize backend '\w+': ", "", error)[:300] or "there is no GPU, or its driver is not installed"
    if platforms and wanted not in (*PLUGINS, "cpu"):
        return f"{what}jax knows no such platform; choose from cpu, {', '.join(PLUGINS)}"
    advice = f"pip install '{PLUGINS[wanted]}' installs what jax needs for it; or set" if wanted in PLUGINS else "set"
    return f"{what}jax cannot start ({why}); {advice} JAX_PLATFORMS=cpu to use the CPU"


def check_attention(implementation: str) -> None:
    """Raises ValueError if the devices cannot run this implementation of attention."""
    import jax

    from varietas.model.attention.grouped_query import on_nvidia

    if implementation == "cudnn" and not on_nvidia():
        raise ValueError(f"model.attention='cudnn' needs an NVIDIA GPU, found {jax.devices()[0].device_kind}; set model.attention=auto")
