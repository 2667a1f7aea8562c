"""Redis under Sentinel, or as a Cluster that grows and shrinks."""
