"""`varietas quantize`: what small forms of a model cost in each language."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from varietas.launch.flags import FORMS, SMALL, add_calibrate, add_chat, add_run, add_text, non_negative_int
from varietas.launch.tables import align_right

if TYPE_CHECKING:
    from varietas.launch.models.quantizing import Form

SUMMARY = "measure what small forms of a model cost in every language, the worst first"
EXAMPLE = "varietas quantize --run runs/demo --to q8_0 q4_k"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--step", type=non_negative_int, metavar="N", help="the checkpoint after N steps (default: the newest)")
    parser.add_argument(
        "--to",
        nargs="+",
        choices=(*FORMS[1:], *SMALL),
        default=["q8_0", "q4_k"],
        metavar="FORM",
        help="forms of export --format gguf, or of evaluate and generate (int8, int4): %(choices)s (default: q8_0 q4_k)",
    )
    add_calibrate(parser, "q4_k and int4")
    add_text(parser)
    add_chat(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from varietas.launch.inputs import calibration_of, text_of
    from varietas.launch.models.quantizing import CALIBRATED, FILE, quantization_damage

    if args.calibrate is not None and not set(CALIBRATED) & set(args.to):
        raise ValueError(f"--calibrate is for {' and '.join(CALIBRATED)}, which --to does not name; other forms are not calibrated")
    documents = text_of(args, console)
    calibration = calibration_of(args, console)
    with console.status("evaluating each form"):
        found = quantization_damage(args.run, args.to, documents, calibration, args.step, args.cpu_devices)
    console.print(damage_table(found))
    in_files = {form.bytes for form in found[1:] if form.name.partition(" ")[0] not in SMALL}
    if len(in_files) < len(set(args.to) - set(SMALL)):
        console.print("forms of one size are the same here: matrices whose rows do not divide into blocks of a form keep more bits")
    console.print(f"languages stand in the order of what they lose in {found[-1].name}; kept in {args.run / FILE}", soft_wrap=True)
    if set(args.to) - set(SMALL):
        console.print("varietas export --format gguf --quantize FORM writes such a file", soft_wrap=True)
    if set(args.to) & set(SMALL):
        console.print("varietas evaluate and generate take --quantize int8 or int4", soft_wrap=True)
    return 0


def damage_table(found: "Sequence[Form]") -> Table:
    """Tables how many more bits each language takes in each form. The language that loses most in the last form comes first."""
    from varietas.data.text.languages import name

    whole, *forms = found
    table = Table("language", "", "f32 bits/byte", *(form.name for form in forms), box=None, pad_edge=False)
    align_right(table, *range(2, 3 + len(forms)))

    def more(form: "Form", code: str) -> float:
        return form.languages[code]["bits_per_byte"] / whole.languages[code]["bits_per_byte"] - 1

    for code in sorted(whole.languages, key=lambda code: -more(found[-1], code)):
        bits, style = whole.languages[code]["bits_per_byte"], "" if whole.languages[code]["trained_on"] else "dim"
        table.add_row(code, name(code), f"{bits:.3f}", *(f"{more(form, code):+.2%}" for form in forms), style=style)
    trained = [code for code, row in whole.languages.items() if row["trained_on"]] or list(whole.languages)
    of_which = "all" if len(trained) == len(whole.languages) else "trained on"
    table.add_section()
    for what, of in (("worst", max), ("mean", lambda values: sum(values) / len(values))):
        table.add_row(of_which, what, "", *(f"{of([more(form, code) for code in trained]):+.2%}" for form in forms))
    table.add_row("", "MB", f"{whole.bytes / 1e6:,.1f}", *(f"{form.bytes / 1e6:,.1f}" for form in forms))
    return table
