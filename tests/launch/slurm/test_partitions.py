"""Times as sbatch takes them, and the queue that takes a job. The examples of times are those of sbatch's manual."""

import pytest

from varietas.launch.plan.machines import load_machine
from varietas.launch.slurm.partitions import choose, seconds_of, time_of


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 5400), ("90:30", 5430), ("2:00:00", 7200), ("1-12", 129_600), ("1-12:30", 131_400), ("2-00:00:00", 172_800), (" 5 ", 300)],
)
def test_times(time: str, seconds: int) -> None:
    assert seconds_of(time) == seconds_of(time_of(seconds)) == seconds


def test_times_are_written_as_slurm_shows_them() -> None:
    assert [time_of(s) for s in (300, 86_400, 90_061)] == ["00:05:00", "1-00:00:00", "1-01:01:01"]


@pytest.mark.parametrize("time", ["", "soon", "1:2:3:4", "-5", "1h", "1-", "0"])
def test_other_times_are_refused(time: str) -> None:
    with pytest.raises(ValueError, match="--time"):
        seconds_of(time)


@pytest.mark.parametrize(
    ("machine", "nodes", "time", "partition", "qos", "expected"),
    [
        ("lumi", 16, None, None, None, ("standard-g", "", 86_400)),
        ("lumi", 4, "3-00:00:00", None, None, ("small-g", "", 259_200)),  # standard-g ends after two days
        ("lumi", 8, None, "dev-g", None, ("dev-g", "", 10_800)),
        ("leonardo", 64, None, None, None, ("boost_usr_prod", "normal", 86_400)),
        ("leonardo", 200, None, None, None, ("boost_usr_prod", "boost_qos_bprod", 86_400)),
        ("leonardo", 2, "20", None, "boost_qos_dbg", ("boost_usr_prod", "boost_qos_dbg", 1200)),
        ("jupiter", 100, None, None, None, ("booster", "", 43_200)),
        ("mn5", 8, None, None, "acc_bsccs", ("acc", "acc_bsccs", 86_400)),  # not in the machine's file: passed on
    ],
)
def test_the_first_queue_that_allows_a_job(
    machine: str, nodes: int, time: str | None, partition: str | None, qos: str | None, expected: tuple[str, str, int]
) -> None:
    queue, seconds = choose(load_machine(machine), nodes, time, partition, qos)
    assert (queue.partition, queue.qos, seconds) == expected


@pytest.mark.parametrize(
    ("machine", "nodes", "time", "partition", "qos", "says"),
    [
        ("lumi", 16, "3-00:00:00", None, None, r"no queue of lumi takes a job of 16 nodes for 3-00:00:00 \(standard-g: 1,024 nodes, 2-00"),
        ("lumi", 33, None, "dev-g", None, "dev-g: 32 nodes, 3:00:00"),
        ("lumi", 9000, None, None, None, "more than the 2,978 nodes of lumi"),
        ("lumi", 1, None, "standrad-g", None, "did you mean standard-g"),
        ("leonardo", 1, None, None, "boost_qos_bdg", "did you mean boost_qos_dbg"),
        ("tpu_v5p", 1, None, None, None, "tpu_v5p has no Slurm"),
    ],
)
def test_a_job_that_no_queue_allows(machine: str, nodes: int, time: str | None, partition: str | None, qos: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        choose(load_machine(machine), nodes, time, partition, qos)
