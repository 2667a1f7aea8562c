"""Scaling a service by hand, so that neither its autoscaler nor the next `up` undoes it."""
