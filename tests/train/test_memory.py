"""What a run needs is known from shapes and from its compiled step, what is free from the kernel, control groups and Slurm."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from varietas.launch.config import load_config
from varietas.launch.resolve import experiment_of
from varietas.model.flops import count_params
from varietas.model.sharding import make_mesh
from varietas.train import memory
from varietas.train.memory import check_batches, check_state, check_step, host_free, state_bytes
from varietas.train.step import abstract_state, init_state

GIB = 1 << 30


def files(root: Path, **contents: str) -> None:
    """Writes files. In their names __ stands for a slash and - for a dot."""
    for name, content in contents.items():
        path = root / name.replace("__", "/").replace("-", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A machine with 24 GiB, of which 18 may still be used. This process has 1,000 pages in memory."""
    lines = [
        f"{name}: {size * 1024 * 1024} kB\n" for name, size in (("MemTotal", 24), ("MemFree", 5), ("MemAvailable", 18), ("Cached", 14))
    ]
    files(tmp_path / "proc", meminfo="".join(lines), self__statm="5000 1000 300 1 0 700 0\n", self__cgroup="0::/\n")
    return tmp_path / "proc"


def free(proc: Path, **environ: str) -> tuple[float, str]:
    found, where = host_free(proc, proc.parent / "cgroup", environ)
    return found / GIB, where


def test_what_the_kernel_calls_available_is_free(proc: Path) -> None:
    assert free(proc) == (18, "this machine")


def write_group(folder: Path, limit: str, used: int, **stat: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text("".join(f"{name} {value}\n" for name, value in {"anon": used, "file": used, **stat}.items()))


def test_a_control_group_limits_its_process_and_cached_files_count_as_free(proc: Path) -> None:
    (proc / "self" / "cgroup").write_text("0::/slurm/job_7/step_0\n")
    groups = proc.parent / "cgroup"
    write_group(groups / "slurm" / "job_7" / "step_0", "max", 3 * GIB)
    write_group(groups / "slurm" / "job_7", str(8 * GIB), 5 * GIB, inactive_file=GIB, active_file=GIB // 2)  # the tightest is in the middle
    write_group(groups / "slurm", str(20 * GIB), 6 * GIB)
    assert free(proc) == (8 - 5 + 1.5, "this job or container")


def test_a_container_sees_its_own_group_at_the_top(proc: Path) -> None:
    (proc / "self" / "cgroup").write_text("0::/docker/beef\n")  # a path of the host, which the container does not see
    write_group(proc.parent / "cgroup", str(4 * GIB), GIB)
    assert free(proc) == (3, "this job or container")
    (proc / "self" / "cgroup").write_text("0::/../../other\n")
    assert free(proc) == (3, "this job or container")


@pytest.mark.parametrize("limit", [6 * GIB, 9223372036854771712])
def test_version_1_of_control_groups(proc: Path, limit: int) -> None:
    """Without a limit it has the largest multiple of a page."""
    (proc / "self" / "cgroup").write_text("9:name=systemd:/\n4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n")
    folder = proc.parent / "cgroup" / "memory" / "job"
    stat = f"cache 7\ninactive_file 5\ntotal_inactive_file {GIB}\ntotal_active_file {GIB}\n"
    files(folder, **{"memory-stat": stat})
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{3 * GIB}\n")
    assert free(proc) == ((5, "this job or container") if limit == 6 * GIB else (18, "this machine"))


@pytest.mark.parametrize(
    ("environ", "limit"),  # in GiB; Slurm counts in MiB
    [
        ({"SLURM_MEM_PER_NODE": "4096"}, 4),
        ({"SLURM_MEM_PER_CPU": "2048", "SLURM_CPUS_ON_NODE": "3"}, 6),
        ({"SLURM_MEM_PER_NODE": "0"}, None),  # all memory of the node
        ({"SLURM_MEM_PER_CPU": "0", "SLURM_CPUS_ON_NODE": "3"}, None),
        ({"SLURM_JOB_ID": "7"}, None),
    ],
)
def test_slurm_limits_its_job(proc: Path, environ: dict[str, str], limit: float | None) -> None:
    page = memory.os.sysconf("SC_PAGE_SIZE")
    assert free(proc, **environ) == ((18, "this machine") if limit is None else (limit - 1000 * page / GIB, "the Slurm job (its --mem)"))


def test_without_any_of_these_files_the_machine_has_all_its_memory(tmp_path: Path) -> None:
    assert host_free(tmp_path, tmp_path, {})[0] > GIB / 2


def test_state_bytes_equal_those_of_the_arrays() -> None:
    exp, mesh = experiment_of(load_config("tiny", ["--config.model.vocab_size=1024"])), make_mesh(1, 4, 2)
    state = init_state(exp.model, exp.optim, mesh, 0)
    held = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state))
    assert state_bytes(abstract_state(exp.model, exp.optim, mesh)) == held


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets how much memory of the host is free, in GiB."""

    def set_free(gib: float) -> None:
        monkeypatch.setattr(memory, "host_free", lambda: (int(gib * GIB), "this machine"))

    return set_free


def test_gradients_count_and_virtual_devices_share_the_memory_of_the_host(host: Any) -> None:
    """Each parameter needs four float32 numbers: itself, its gradient and two moments. 9.152e9 parameters need 136.4 GiB."""
    exp = experiment_of(load_config("eurollm_9b", ["--config.model.vocab_size=128000"]))
    one, two = (make_mesh(1, n, 1, devices=jax.devices()[:n]) for n in (1, 2))
    abstract = abstract_state(exp.model, exp.optim, one)
    host(136.3)  # more than parameters and moments
    with pytest.raises(
        MemoryError,
        match=r"parameters, gradients and optimiser need 136\.4 GiB on the device, but this machine has 136\.3 GiB free; lower .* smaller",
    ):
        check_state(abstract, one)
    with pytest.raises(MemoryError, match=r"need 68\.2 GiB on each of 2 devices, but its share of this machine has 68\.1 GiB free"):
        check_state(abstract_state(exp.model, exp.optim, two), two)
    host(136.5)
    check_state(abstract, one)


def test_what_is_not_trained_has_no_gradient(host: Any) -> None:
    """4 bytes for each parameter, and 16 for each of the adapters: those of query and value have 42 * 8 * (2 * 4096 + 4096 + 1024)."""
    fields = ["vocab_size=128000", "lora_rank=8", "lora_on=query, value"]
    exp = experiment_of(load_config("eurollm_9b", [f"--config.model.{field}" for field in fields]))
    one = make_mesh(1, 1, 1, devices=jax.devices()[:1])
    abstract = abstract_state(exp.model, exp.optim, one)
    need = (4 * count_params(exp.model) + 16 * 42 * 8 * (2 * 4096 + 4096 + 1024)) / GIB
    host(need + 0.001)
    check_state(abstract, one)
    host(need - 0.001)
    with pytest.raises(MemoryError, match=f"parameters, gradients and optimiser need {need:.1f} GiB"):
        check_state(abstract, one)


def test_an_accelerator_has_what_its_allocator_has_left() -> None:
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 60 * GIB, "bytes_in_use": 50 * GIB}, platform="gpu")
    mesh: Any = SimpleNamespace(local_devices=[device] * 4, size=8)
    exp = experiment_of(load_config("eurollm_9b", ["--config.model.vocab_size=128000"]))
    abstract = abstract_state(exp.model, exp.optim, make_mesh(1, 8, 1))
    with pytest.raises(
        MemoryError, match=r"need 17\.\d GiB on each of 8 devices, but it has 10\.0 GiB free; use more devices, raise mesh.fsdp"
    ):
        check_state(abstract, mesh)


def test_a_step_needs_arguments_temporaries_and_what_does_not_replace_an_argument(host: Any) -> None:
    """A function that keeps its argument and returns two arrays of its size needs all three."""
    mesh = make_mesh(1, 1, 1, devices=jax.devices()[:1])
    x = jax.ShapeDtypeStruct((GIB // 4,), "float32")
    kept = jax.jit(lambda x: (x + 1, x + 2)).lower(x).compile()
    donated = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    host(2.9)
    with pytest.raises(MemoryError, match=r"a training step needs 3\.0 GiB on the device, but this machine has 2\.9 GiB free; lower"):
        check_step(kept, mesh)
    host(1.1)
    check_step(donated, mesh)


def test_batches_that_the_host_cannot_hold_are_refused(host: Any) -> None:
    host(2)
    check_batches(2 * GIB)
    with pytest.raises(MemoryError, match=r"read ahead need 3\.0 GiB, but this machine has 2\.0 GiB free; lower train.batch_size"):
        check_batches(3 * GIB)


def test_tiny_fits_this_machine() -> None:
    exp, mesh = experiment_of(load_config("tiny", ["--config.model.vocab_size=1024"])), make_mesh(8, 1, 1)
    check_state(abstract_state(dataclasses.replace(exp.model, n_layers=1), exp.optim, mesh), mesh)
