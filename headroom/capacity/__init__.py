"""Demand to plan: what is asked for (`demand`), and every size that follows from it (`plan`). Pure Python.

Nothing here imports Pulumi, and only `demand.load` reads a file.
"""
