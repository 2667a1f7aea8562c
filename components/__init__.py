"""Pulumi components: a slice of the plan in, Kubernetes objects out. They decide no sizes."""
