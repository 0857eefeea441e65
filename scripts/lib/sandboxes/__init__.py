"""ainit's sandbox beside bubblewrap, systemd's options and gVisor, on the same root.

`peers` says how each is asked for the tightest that it has; `inside` runs the probes and times
starts in that root; `ground` makes the root and has it run; `table` reads what came of it.
`programs` and `agents` compare a program in the sandbox with the same one outside.
"""
