"""What runs beside redis-server in its pods: safe starts, Sentinel's state, ways out, and resizes of a Cluster.

Standard library only, so that the image needs no package index.
"""
