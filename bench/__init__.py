"""What the toy costs: instructions, bytes, milliseconds. `tools/bench` measures and prints it.

A figure (figures.py) says what is measured, how, and what it has to reach; each subject's module
has some, and measures them. docs/bench.md shows the table of the last run.
"""
