"""ainit and its peers, each as PID 1 of namespaces of its own, over the same 1,000 services.

`ground` lays the common root and starts a supervisor in it; every peer has a module that says what
its configuration looks like; `rounds` measures one; ``service.c`` is what they all run.
"""
