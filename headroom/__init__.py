"""Headroom: a Pulumi program that sizes itself.

Data flows one way: stack file -> demand -> plan -> components -> Kubernetes objects.
"""
