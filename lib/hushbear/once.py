"""Modules that are loaded for one use and then let go: what is needed seldom, and its memory."""

import gc
import sys


def once(name):
    """Import the module of this name and return it; nothing else will know it. It lasts as long
    as somebody holds it, and what it imported first, too.
    """
    gc.collect()  # the last ones, too, have been let go
    known = set(sys.modules)
    try:
        __import__(name)
        return sys.modules[name]
    finally:
        for key in list(sys.modules):
            if key not in known:
                del sys.modules[key]
                package, _, tail = key.rpartition(".")
                if package in sys.modules:
                    sys.modules[package].__dict__.pop(tail, None)
