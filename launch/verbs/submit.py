"""`varietas submit`: a run, or a sweep of runs, as Slurm jobs that follow one another until it is finished."""

import argparse
import sys

from rich.console import Console

from varietas.launch.flags import add_config, path, positive_int

SUMMARY = "train on the nodes of a machine with Slurm, in as many jobs as it takes"
EXAMPLE = "varietas submit --config eurollm_9b --machine leonardo --nodes 64 --account EUHPC_A01_001 --run runs/euro"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--machine", required=True, metavar="NAME|PATH", help="a machine by name, or a file like those of configs/machines")
    parser.add_argument("--nodes", type=positive_int, required=True, metavar="N", help="nodes of each job")
    parser.add_argument("--run", type=path, metavar="DIR", help="the run's folder, which all nodes must see (default: runs/CONFIG)")
    parser.add_argument("--account", metavar="NAME", help="the account that pays (default: $SBATCH_ACCOUNT)")
    parser.add_argument("--time", metavar="TIME", help="time limit of a job (default: 24:00:00, or less if the queue allows no more)")
    parser.add_argument("--partition", metavar="NAME", help="the partition (default: the first that allows the job)")
    parser.add_argument("--qos", metavar="NAME", help="the quality of service (default: the first that allows the job)")
    parser.add_argument("--container", type=path, metavar="FILE", help="an image to run in (default: the Python that runs this)")
    parser.add_argument(
        "--sweep",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIELD=VALUES",
        help="a run for each value, as in optim.peak_lr=1e-4,3e-4; with several fields, for each combination",
    )
    parser.add_argument("--doctor", action="store_true", help="run `varietas doctor` on the nodes instead of training")
    parser.add_argument("--dry_run", action="store_true", help="print the script; write and submit nothing")


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.data.files import write_atomically
    from varietas.launch.slurm import commands
    from varietas.launch.slurm.record import FINISHED
    from varietas.launch.slurm.submission import prepare, script_of, write_records

    submission = prepare(args)
    job, script = submission.job, script_of(submission, args)
    for line in submission.missing if args.dry_run else submission.missing[1:]:
        print(f"varietas: {line}", file=sys.stderr)
    if args.dry_run:
        print(script, end="")
        return 0
    if submission.missing:
        raise ValueError(submission.missing[0])
    if not commands.here():
        raise ValueError(f"sbatch is not on this computer; run this on a login node of {job.machine.name}, or add --dry_run")
    folder = job.file.parent.parent
    if there := sorted({other.job for other in commands.queued() if other.script == job.file}):
        raise ValueError(
            f"{folder} is in the queue already, as job {' and '.join(there)}; wait until it ends, or scancel {' '.join(there)}"
        )
    write_atomically(job.file, script.encode())
    if not args.doctor:
        for point in job.points:
            (point.run / "jobs" / FINISHED).unlink(missing_ok=True)  # the job may start at once
    number = commands.submit(job.file)
    if not args.doctor:
        write_records(submission)
    for fact in submission.runs[0].facts:
        console.print(f"checked: {fact}", soft_wrap=True)
    runs = f", {len(job.points)} runs" if len(job.points) > 1 and not args.doctor else ""
    console.print(f"job {number} waits in {job.queue.partition}{runs}; its script: {job.file}", soft_wrap=True)
    after = f"its findings: {job.file.parent / number}.log" if args.doctor else f"varietas status {folder} shows how far it is"
    console.print(after, soft_wrap=True)
    return 0
