"""The plan of a run on a machine: whether it fits, how long it takes, and what it uses."""

from dataclasses import dataclass
from typing import Any

from varietas.configs.machines.base import XLA_MEMORY, Machine
from varietas.launch.plan.job import Job
from varietas.launch.plan.memory import Memory, memory
from varietas.launch.plan.roofline import Step, step_time

SURE = 0.91  # share of the memory up to which a step fits for certain: the formulas were up to 9 % too low (docs/plan.md)
XLA_DEFAULT = 0.75  # share of a GPU's memory that XLA takes unless XLA_MEMORY says otherwise


@dataclass(frozen=True)
class Plan:
    """What a run needs. Time and energy are of training alone: without waiting for nodes, evaluations, and steps that failures lose."""

    job: Job
    machine: Machine
    memory: Memory
    step: Step

    @property
    def nodes(self) -> int:
        """The nodes of the run."""
        return -(-self.job.devices // self.machine.devices_per_node)

    @property
    def usable(self) -> float:
        """Bytes of a device that XLA may use."""
        if self.machine.platform not in ("cuda", "rocm"):
            return self.machine.memory
        shares = [float(one.value) for one in self.machine.environment if one.name == XLA_MEMORY.name]
        return self.machine.memory * (shares[-1] if shares else XLA_DEFAULT)

    @property
    def fits(self) -> bool:
        """Whether the step fits into the memory of a device."""
        return self.memory.total <= self.usable

    @property
    def surely_fits(self) -> bool:
        """Whether it fits even if the formulas are as far off as they have been seen to be."""
        return self.memory.total <= SURE * self.usable

    @property
    def mfu(self) -> float:
        """Model FLOP/s utilisation."""
        return self.step.mfu(self.machine)

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second of all devices together."""
        return self.job.tokens / self.step.seconds

    @property
    def hours(self) -> float:
        """Hours of the whole run."""
        return self.step.seconds * self.job.steps / 3600

    @property
    def node_hours(self) -> float:
        """Node hours of the whole run."""
        return self.hours * self.nodes

    @property
    def kwh(self) -> float:
        """Energy of the whole run in kWh, with that of the site around the nodes."""
        return self.node_hours * self.machine.power / 1000 * self.machine.pue

    @property
    def co2_kg(self) -> float:
        """CO2 of the whole run in kg, by the grid of the country."""
        return self.kwh * self.machine.carbon / 1000


def plan(job: Job, machine: Machine) -> Plan:
    """Plans a job on a machine, by formulas alone."""
    return Plan(job, machine, memory(job, machine.platform), step_time(job, machine))


def record(p: Plan) -> dict[str, Any]:
    """Returns a plan as JSON has it: times in seconds, memory in bytes."""
    data, fsdp, tensor = p.job.mesh
    m = p.memory
    return {
        "machine": p.machine.name,
        "nodes": p.nodes,
        "devices": p.job.devices,
        "mesh": {"data": data, "fsdp": fsdp, "tensor": tensor},
        "remat": p.job.model.remat,
        "grad_accum": p.job.grad_accum,
        "rows": p.job.rows,
        "batch_size": p.job.batch_size,
        "seq_len": p.job.seq_len,
        "fits": p.fits,
        "surely_fits": p.surely_fits,
        "bytes_per_device": round(m.total),
        "usable_bytes_per_device": round(p.usable),
        "memory": {name: round(getattr(m, name)) for name in ("parameters", "optimizer", "gradients", "activations", "temporaries")},
        "step_seconds": p.step.seconds,
        "products_seconds": p.step.products,
        "memory_seconds": p.step.memory,
        "hidden_communication_seconds": p.step.hidden,
        "exposed_communication_seconds": p.step.exposed,
        "mfu": p.mfu,
        "tokens_per_second": p.tokens_per_second,
        "tokens_per_day": p.tokens_per_second * 86400,
        "tokens": p.job.tokens * p.job.steps,
        "hours": p.hours,
        "node_hours": p.node_hours,
        "kwh": p.kwh,
        "co2_kg": p.co2_kg,
        "exchanges": [
            {
                "what": one.exchange.what,
                "kind": one.exchange.kind,
                "axis": one.exchange.axis,
                "group": one.exchange.group,
                "bytes": one.exchange.sent,
                "times": one.exchange.times,
                "link": one.link,
                "seconds": one.seconds,
                "hidden_seconds": one.hidden,
            }
            for one in p.step.costs
        ],
    }
