"""A new image on a share of a service's pods, watched against the others, then promoted or aborted."""
