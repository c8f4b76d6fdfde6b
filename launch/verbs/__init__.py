"""The verbs of the command line, one file each.

A verb has SUMMARY and EXAMPLE for its help, `add_flags`, which declares its flags, and `run`, which does the work and returns the exit
status. Heavy libraries are imported inside of `run`, after everything that can be checked without them.
"""
