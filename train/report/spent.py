"""The section of the report on time and energy: what became of each second of the run's life, and what each of its starts did."""

from datetime import UTC, datetime

from varietas.train.accounting.goodput import ABSENT, LOST, NAMES, Account, Attempt
from varietas.train.report.figures import NARROW_SPACE, duration, figure, fixed, moment, percent, plural
from varietas.train.report.markup import esc, quiet, table

MOST_STARTS = 20  # that are listed


def time_section(account: Account | None) -> str:
    """Shows where the time and the energy of a run went."""
    if account is None:
        return quiet("Where the time went has not been recorded yet.")
    longest = max(account.seconds.values())
    rows = [row(NAMES[kind], seconds, account.life, longest) for kind, seconds in account.seconds.items() if seconds > 0]
    drawn = table(("Where the time went", "Time", "Share"), rows)
    return f'<p class="said">{said(account)}</p>{drawn}{notes(account)}{starts(account)}'


def said(account: Account) -> str:
    """Says in words how much of the time was of use, what restarts cost, and how much energy it took."""
    sentences = [f"{percent(account.goodput)} of {duration(account.life)} went into training steps that count (goodput)."]
    if account.restarts:
        again = f" and lost {duration(account.seconds[LOST])} of work" if account.seconds[LOST] else ""
        sentences.append(f"The run was restarted {plural(account.restarts, 'time')}{again}.")
    if account.seconds_to_step is not None:
        which = "last restart" if account.restarts else "start"
        sentences.append(f"From its {which} to the next step it took {duration(account.seconds_to_step)}.")
    if account.kwh is not None:
        sentences.append(f"It used {figure(account.kwh, 3)} kWh ({esc(account.energy_source)}).")
    return " ".join(sentences)


def row(name: str, seconds: float, life: float, longest: float) -> str:
    """Draws a row of the table of kinds."""
    meter = f'<span class="meter"><i style="width:{100 * seconds / longest:.1f}%"></i></span>'
    share = f"{fixed(100 * seconds / life, 1)}{NARROW_SPACE}%"
    return f'<tr><th scope="row">{name[0].upper()}{name[1:]}</th><td>{duration(seconds)}</td><td>{share}{meter}</td></tr>'


def notes(account: Account) -> str:
    """Explains the rows that need it."""
    note = "The devices wait while the run waits for data or saves a checkpoint; what they compute meanwhile counts as training steps. "
    if account.seconds[LOST]:
        note += "Work was lost where the run was killed and went on from an earlier checkpoint. "
    if account.seconds[ABSENT]:
        note += "“Not running” is between two starts: in a queue, or stopped."
    return quiet(note)


def starts(account: Account) -> str:
    """Draws a table of the starts of a run; "" if there is only one."""
    if not account.restarts:
        return ""
    listed = list(zip(account.attempts, account.lost, strict=True))[-MOST_STARTS:]
    head = ("Started", "After step", "To step", "Time", "To the next step", "Lost")
    heading = f"The last {MOST_STARTS} of {plural(len(account.attempts), 'start')}" if account.restarts >= MOST_STARTS else "Starts"
    return f"<h3>{heading}</h3>{table(head, [start(attempt, lost) for attempt, lost in listed])}"


def start(attempt: Attempt, lost: float) -> str:
    """Draws a row of the table of starts."""
    try:
        began = moment(datetime.fromtimestamp(attempt.began, UTC))
    except (ValueError, OverflowError, OSError):
        began = "–"
    where = esc(attempt.host + (f", job {attempt.job}" if attempt.job else ""))
    next_step = "–" if attempt.seconds_to_step is None else duration(attempt.seconds_to_step)
    cells = (figure(attempt.first), figure(attempt.last), duration(attempt.seconds), next_step, duration(lost) if lost else "–")
    drawn = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{began}<br><small>{where}</small></th>{drawn}</tr>'
