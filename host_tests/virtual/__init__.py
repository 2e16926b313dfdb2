"""The virtual toy: the unmodified firmware in a MicroPython process, its hardware in this one."""
