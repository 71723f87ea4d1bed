"""NAS-Bench-201, which is NATS-Bench's topology space: cells of six edges with one of five operations each."""
