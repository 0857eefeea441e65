"""The GPU service: decides where GPU instances go, makes them, and remembers who holds which.

``place`` decides and checks (pure), ``nvml`` talks to the driver, ``onnx`` runs the policy,
``transaction`` changes the machine without ever stranding an instance, ``service`` answers calls.
"""
