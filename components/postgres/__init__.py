"""The parts of `components.sharded_postgres`."""
