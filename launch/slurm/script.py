"""The script that sbatch takes, and the chain of jobs that ends with the run.

Each job queues its successor before it trains. So nothing that happens to a job (its time limit, a dead node, kill -9) can lose the next.
The chain ends when the run is finished, when a user's mistake stopped it (exit status 2 before anything was saved: later the same command
has worked), when its owner cancelled a job, or when TRIES jobs in a row began with the same checkpoint.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from varietas.launch.slurm.job import Job, directives, processes, setup, start
from varietas.launch.slurm.record import FINISHED, HISTORY

TRIES = 3  # jobs in a row that may begin with the same checkpoint
WAIT = 300  # seconds that processes have to end after the first of them


def render(job: Job) -> str:
    """Returns the script that trains."""
    return "\n".join((*_heading(job), "", *setup(job), "", *_runs(job), CHAIN, *_train(job), AFTERWARDS))


def render_doctor(job: Job, machine: str, folders: Sequence[Path]) -> str:
    """Returns the script that measures the nodes and the file systems of these folders. `machine`: the value of --machine."""
    arguments = shlex.join(("--machine", machine, "--folder", *map(str, folders)))
    lines = [
        "#!/bin/bash -l",
        f"# Varietas: `varietas doctor` on {_nodes(job)}. Made by: {job.command}",
        *directives(job, "doctor"),
        "",
        *setup(job),
        "",
        *start(job, (), "doctor", arguments),
    ]
    return "\n".join((*lines, 'exit "$status"', ""))


def lead(seconds: int) -> int:
    """Returns how many seconds before its end a job of this time limit is told to save: a tenth, from one minute to five."""
    return max(60, min(300, seconds // 600 * 60))


def _nodes(job: Job) -> str:
    each = "for each device" if processes(job.machine) > 1 else "for each node"
    return f"{job.nodes} node{'s' * (job.nodes > 1)} of {job.machine.name} ({job.machine.device}), one process {each}"


def _heading(job: Job) -> list[str]:
    n = len(job.points)
    array = [f"--array=0-{n - 1}"] if n > 1 else []
    return [
        "#!/bin/bash -l",
        f"# Varietas: {f'{n} runs of a sweep, each on' if n > 1 else 'one run on'} {_nodes(job)}.",
        f"# Made by: {job.command}",
        "# `varietas status` shows how far it is. To stop a run: scancel its job; the job that waits behind it then ends at once.",
        f"# To continue a run that was stopped: sbatch {shlex.quote(str(job.file))}",
        "#",
        f"# USR1 comes {lead(job.seconds)} s before the time limit: training saves its last step and ends with status 3.",
        *directives(job, job.file.parent.parent.name, *array, f"--signal=USR1@{lead(job.seconds)}", "--requeue"),
    ]


def _runs(job: Job) -> list[str]:
    """Variables that say which run this job is for."""
    lines = ["# ---- The run", f"script={shlex.quote(str(job.file))}"]
    if len(job.points) == 1:
        run = [f"run={shlex.quote(str(job.points[0].run))}", f"steps={job.steps[0]}"]
        return [*lines, *run, "array=()  # of the next job: no job array"]
    lines.append("case $SLURM_ARRAY_TASK_ID in")
    for number, (point, steps) in enumerate(zip(job.points, job.steps, strict=True)):
        lines.append(f"  {number}) run={shlex.quote(str(point.run))} steps={steps} point=({shlex.join(point.overrides)}) ;;")
    return [*lines, "esac", 'array=(--array="$SLURM_ARRAY_TASK_ID")  # of the next job: this run alone']


def _train(job: Job) -> list[str]:
    point = ['"${point[@]}"'] if len(job.points) > 1 else []
    return [
        f"# A process that ends does not end the others at once: they may be writing the checkpoint. {WAIT} s later they are ended.",
        *start(job, ("--kill-on-bad-exit=0", f"--wait={WAIT}"), "train", " ".join(('--run "$run"', shlex.join(job.arguments), *point))),
    ]


CHAIN = f"""job=$SLURM_JOB_ID
own=${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID}}  # one job of an array has the number of the whole array
own=${{own:-$job}}
before=${{1-}}  # the job that queued this one, by the name that is its alone
before_number=${{2-}}
again="sbatch ${{array[*]:+${{array[*]}} }}$script"
history=$run/jobs/{HISTORY}
mkdir -p "$run/jobs"

say() {{ printf 'varietas: %s\\n' "$*"; }}

note() {{ printf '%s %s\\n' "$(date -u +%FT%TZ)" "$*" >> "$history"; }}

saved_step() {{  # the newest complete checkpoint; 0 if there is none
  {{
    echo 0
    find "$run/checkpoints" -maxdepth 1 -type d -not -empty -regex '.*/[0-9]+' -printf '%f\\n' 2> /dev/null
  }} | sort -n | tail -n 1
}}

was_cancelled() {{  # the controller forgets a job after some minutes; then the accounts know it
  local state
  state=$(scontrol show job "$1" 2> /dev/null | grep -o 'JobState=[A-Z_]*')
  [ -n "$state" ] || state=$(sacct --noheader --allocations --parsable2 --format State --jobs "$1" 2> /dev/null | head -n 1)
  [[ $state == *CANCELLED* ]]
}}

queue_next() {{  # prints the number of the new job
  local try name
  for try in 1 2 3 4 5; do
    [ "$try" = 1 ] || sleep 20
    (
      for name in "${{!SLURM_@}}" "${{!SBATCH_@}}"; do  # those of this job are not those of the next
        [ "$name" = SLURM_CONF ] || unset "$name"
      done
      sbatch --parsable --dependency="afterany:$own" "${{array[@]}}" "$script" "$own" "$job"
    ) && return
  done
  say "sbatch refuses the next job" >&2
}}

if [ -e "$run/jobs/{FINISHED}" ]; then
  say "$run is finished"
  exit 0
fi
if [ -n "$before" ] && was_cancelled "$before"; then
  note stop "$job" "job $before was cancelled"
  say "job $before was cancelled, so the run stops; $again continues it"
  exit 0
fi

# The job before this one has ended, so a lock that it left behind, on a node that died, holds nothing.
if [ -n "$before" ] && grep -qsF '"job": "'"$before_number"'"' "$run/.lock"; then rm -f "$run/.lock"; fi

# ---- Jobs that do not get any further end the chain
step=$(saved_step)
[ -n "$before${{SLURM_RESTART_COUNT-}}" ] || note submit "$job"
note start "$job" "$step"
starts=$(awk -v step="$step" '$2 == "submit" {{ n = 0 }} $2 == "start" {{ n = $4 == step ? n + 1 : 0 }} END {{ print n }}' "$history")
if [ "$starts" -gt {TRIES} ]; then
  note stop "$job" "{TRIES} jobs in a row did not get beyond step $step"
  say "{TRIES} jobs in a row did not get beyond step $step: see their logs in $(dirname "$script"), then $again"
  exit 1
fi

# ---- The next job waits in the queue before this one trains: whatever ends this one cannot lose it
next=$(awk -v job="$job" '$2 == "next" && $3 == job {{ n = $4 }} END {{ print n }}' "$history")  # if Slurm has requeued this job
[ -n "$next" ] && [ -n "$(squeue --noheader --jobs "$next" 2> /dev/null)" ] || next=$(queue_next)
next=${{next%%;*}}
[ -z "$next" ] || note next "$job" "$next"

# ---- Train. At SIGTERM this shell stays, so that the processes can save
trap : TERM
say "job $job on $SLURM_JOB_NODELIST from step $step${{next:+, then job $next}}"
"""

AFTERWARDS = f"""
[ "$status" != 0 ] || [ "$(saved_step)" -ge "$steps" ] || status=1  # when a node dies, srun returns 0
note end "$job" "$status"
say "job $job ended with status $status at step $(saved_step)"
case $status in
  0)
    touch "$run/jobs/{FINISHED}"
    [ -z "$next" ] || scancel "$next"
    ;;
  *)
    if [ "$status" = 2 ] && [ "$(saved_step)" = 0 ]; then
      note stop "$job" "a mistake that the log names"
      say "no job goes on with this; after the mistake is corrected: $again"
      [ -z "$next" ] || scancel "$next"
    elif [ -n "$next" ]; then
      say "job $next goes on"
    else
      scontrol requeue "$own" || say "no job goes on: $again"
    fi
    ;;
esac
exit "$status"
"""
