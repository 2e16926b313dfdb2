"""The virtual toy: the unmodified firmware in a MicroPython process, its hardware in this one."""

from .storage import FlashModel
from .toy import Cause, ToyError, VirtualToy

__all__ = ["Cause", "FlashModel", "ToyError", "VirtualToy"]
