"""Starts jax the way we want it: virtual devices on a CPU, a compilation cache that outlives the process, quiet libraries."""

import contextlib
import logging
import os
import sys
import warnings

from varietas.data.files import cache_folder

HUGE_PAGES = "glibc.malloc.hugetlb=1"  # what glibc is to be told in the variable GLIBC_TUNABLES


def on_huge_pages() -> None:
    """Starts this program again, in its own process, with glibc allocating in pages of 2 MB, which it asks for at its start only.

    XLA's CPU backend allocates what a step works on anew each time: with pages of 4 KB, a seventh of the step goes into them.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": HUGE_PAGES})


def cores() -> int:
    """Of the CPU, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(cpu_devices: int | None) -> int:
    """Sets jax up, if it has not started yet, and returns the number of devices. None: as many CPU devices as jax is told already."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's C++ notes
    import jax

    for name in ("absl", "orbax", "jax._src.xla_bridge", "jax._src.compiler", "grain"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="orbax")
    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    if cpu_devices is not None and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # jax runs already, in a notebook for example: its devices stay as they are
            jax.config.update("jax_num_cpu_devices", cpu_devices)
    return len(jax.devices())


def check_attention(implementation: str) -> None:
    """Raises ValueError if the devices cannot run this implementation of attention."""
    import jax

    from varietas.model.attention import on_nvidia

    if implementation == "cudnn" and not on_nvidia():
        raise ValueError(f"model.attention='cudnn' needs an NVIDIA GPU, found {jax.devices()[0].device_kind}; set model.attention=auto")
