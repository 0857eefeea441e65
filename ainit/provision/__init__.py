"""A machine that is put into service, and out of it: its disk, configuration, and reset."""
