"""Environments as srun (Slurm 22.05), Open MPI 5.0.11, Open MPI 4.1 and torchrun (torch 2.13) made them, cut to what is read."""

import re

import pytest

from varietas.launch.distributed.environment import Process, devices, find, first_host, forgotten

JOB = {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4", "SLURM_TASKS_PER_NODE": "2(x2)"}
BATCH = {**JOB, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}  # the script that sbatch runs, once
SRUN = {
    **JOB,
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}
SRUN_UNEVEN = {
    **SRUN,
    "SLURM_JOB_ID": "2",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}
SRUN_ONE = {
    **SRUN,
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "1",
    "SLURM_STEP_ID": "1",
    "SLURM_STEP_NODELIST": "n1",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_STEP_TASKS_PER_NODE": "1",
}
SHELL = {**SRUN_ONE, "SLURM_STEP_ID": "4294967290"}  # the shell of salloc on a node of the job (use_interactive_step)
MPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "PMIX_NAMESPACE": "prterun-vm-4599@1",
    "PMIX_RANK": "1",
}
MPI_NODES = {**MPI, "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "1", "PMIX_NAMESPACE": "prterun-login-2-4599@1"}
MPI_4 = {**MPI_NODES, "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911"}
del MPI_4["PMIX_NAMESPACE"]
TORCHRUN = {
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "44973",
    "RANK": "1",
    "TORCHELASTIC_RUN_ID": "ef7841d5",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "WORLD_SIZE": "2",
}
SCRIPT = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "node7", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environment", "process"),
    [
        (SRUN, Process(3, 4, "n1:61441", 1, 2)),
        ({**SRUN, "SLURM_STEP_ID": "1"}, Process(3, 4, "n1:62438", 1, 2)),  # two steps of one job do not meet
        (SRUN_UNEVEN, Process(2, 3, "n1:61442", 0, 1)),
        ({**SRUN, "MASTER_ADDR": "elsewhere", "WORLD_SIZE": "4", "RANK": "3"}, Process(3, 4, "n1:61441", 1, 2)),
        (MPI, Process(1, 2, "127.0.0.1:61943", 1, 2)),
        (MPI_NODES, Process(1, 2, "login-2:61943", 0, 1)),
        (MPI_4, Process(1, 2, "10.96.0.1:62624", 0, 1)),
        ({**MPI_NODES, "MASTER_ADDR": "n7", "MASTER_PORT": "1234"}, Process(1, 2, "n7:1234", 0, 1)),
        ({**SRUN, **MPI}, Process(1, 2, "127.0.0.1:61943", 1, 2)),  # mpirun starts its daemons with srun
        (TORCHRUN, Process(1, 2, "localhost:44974", 1, 2)),
        ({**SRUN, **TORCHRUN}, Process(1, 2, "localhost:44974", 1, 2)),  # srun torchrun
        (SCRIPT, Process(5, 8, "node7:29500", 1, 4)),
    ],
)
def test_several(environment: dict[str, str], process: Process) -> None:
    assert find(environment) == process


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PATH": "/bin"},
        BATCH,
        SRUN_ONE,
        SHELL,
        {**JOB},
        {**BATCH, "MASTER_ADDR": "n1", "MASTER_PORT": "29500"},
        {**MPI, "OMPI_COMM_WORLD_SIZE": "1"},
        {**SCRIPT, "WORLD_SIZE": "1", "RANK": "0"},
        {"WORLD_SIZE": "1"},
    ],
)
def test_one(environment: dict[str, str]) -> None:
    assert find(environment) is None


def test_flags_beat_the_environment() -> None:
    assert find(SRUN, "node1:5000", 1, 3) == Process(1, 3, "node1:5000", 0, 1)
    assert find({"WORLD_SIZE": "4"}, "localhost:5000", 1, 3) == Process(1, 3, "localhost:5000", 1, 3)
    assert find({}, "[fe80::1]:5000", 0, 2) == Process(0, 2, "[fe80::1]:5000", 0, 1)
    assert find(SRUN, "node1:5000", 0, 1) is None


@pytest.mark.parametrize(
    ("environment", "flags", "said"),
    [
        ({}, ("n1:5", None, 2), "--coordinator is given without --process"),
        ({}, (None, 0, None), "--process is given without --coordinator and --processes"),
        ({}, ("n1", 0, 2), "--coordinator n1: expected HOST:PORT"),
        ({}, ("n1:99999", 0, 2), "--coordinator n1:99999: expected HOST:PORT with a port from 1 to 65535"),
        ({}, ("n1:5", 2, 2), "--process=2 must be a number from 0 to --processes - 1, and --processes is 2"),
        ({"WORLD_SIZE": "4"}, (), "WORLD_SIZE=4 is set in the environment, but RANK and MASTER_ADDR and MASTER_PORT are not"),
        ({"RANK": "1"}, (), "RANK=1 is set in the environment, but WORLD_SIZE and"),
        ({**SCRIPT, "MASTER_PORT": ""}, (), "but MASTER_PORT is not"),
        ({**SCRIPT, "MASTER_PORT": "http"}, (), "MASTER_PORT is 'http' in the environment, expected a number"),
        ({**SCRIPT, "RANK": "8"}, (), "RANK=8 must be a number from 0 to WORLD_SIZE - 1"),
        ({**SCRIPT, "LOCAL_RANK": "4"}, (), "LOCAL_RANK=4 must be a number from 0 to LOCAL_WORLD_SIZE - 1"),
        ({**SRUN, "WORLD_SIZE": "8"}, (), "WORLD_SIZE=8 contradicts SLURM_STEP_NUM_TASKS=4"),
        ({**SRUN, "RANK": "0"}, (), "RANK=0 contradicts SLURM_PROCID=3"),
        ({**SRUN, "SLURM_PROCID": "x"}, (), "SLURM_PROCID is 'x'"),
        ({k: v for k, v in SRUN.items() if k != "SLURM_STEP_NODELIST"}, (), "SLURM_STEP_NODELIST does not fit"),
        ({k: v for k, v in SRUN.items() if k != "SLURM_LOCALID"}, (), "SLURM_LOCALID is not set"),
        ({**MPI, "WORLD_SIZE": "3"}, (), "WORLD_SIZE=3 contradicts OMPI_COMM_WORLD_SIZE=2"),
        (
            {k: v for k, v in MPI_NODES.items() if k != "PMIX_NAMESPACE"},
            (),
            "nothing says where process 0 runs; give mpirun -x MASTER_ADDR",
        ),
    ],
)
def test_what_is_incomplete_or_contradicts_itself_is_refused(environment: dict[str, str], flags: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        find(environment, *flags)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("n1", "n1"),
        ("n[1-2]", "n1"),
        ("lrdn[0012-0014,0020],gpu7", "lrdn0012"),
        ("gpu7,lrdn[0012-0014]", "gpu7"),
        ("nid[005130]", "nid005130"),
        ("rack[2-3]-node[07,09]", "rack2-node07"),
        ("a-b-c,d", "a-b-c"),
    ],
)
def test_the_first_host_of_a_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_a_forgotten_srun_is_told() -> None:
    assert forgotten(BATCH) == "the Slurm job has 4 tasks, but this process is alone: it was not started with srun"
    assert not any(map(forgotten, ({}, JOB, SHELL, SRUN_ONE, {**BATCH, "SLURM_NTASKS": "1"})))


@pytest.mark.parametrize(
    ("local", "environment", "gpus", "own"),
    [
        ((0, 1), {}, 4, None),  # one process for the node
        ((1, 4), {}, 0, None),  # no GPUs
        ((1, 4), {}, 4, [1]),
        ((1, 2), {}, 8, [4, 5, 6, 7]),
        ((3, 4), {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, 8, [3]),
        ((1, 2), {"ROCR_VISIBLE_DEVICES": "4,5"}, 8, [1]),
        ((1, 4), {"CUDA_VISIBLE_DEVICES": "0"}, 4, None),  # srun --gpus-per-task=1, or --gpu-bind: each sees only its own
        ((1, 2), {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_GPUS_PER_TASK": "2"}, 4, None),
        ((1, 2), {"CUDA_VISIBLE_DEVICES": ""}, 4, None),
    ],
)
def test_processes_of_a_node_share_its_gpus(local: tuple[int, int], environment: dict[str, str], gpus: int, own: list[int] | None) -> None:
    assert devices(Process(local[0], 8, "n1:5", *local), environment, gpus) == own


def test_gpus_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 processes on .* cannot share its 4 GPUs evenly"):
        devices(Process(0, 3, "n1:5", 0, 3), {}, 4)
