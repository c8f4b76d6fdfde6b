"""How certain the figures of evaluations are: intervals, parity between languages, differences between runs. It needs numpy alone."""
