"""Boots of one kernel on one root with one init or another, in guest time that repeats."""
