"""What a child of PID 1 uses to be a service: readiness, a varlink server, a varlink client."""
