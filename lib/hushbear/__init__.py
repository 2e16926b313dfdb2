"""The device library of Hushbear."""

VERSION = "0.1.0"
