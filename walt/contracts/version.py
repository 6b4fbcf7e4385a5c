"""The version of all of it."""

VERSION = "0.1.0"
