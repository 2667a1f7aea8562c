"""Moves buckets between shards while clients read and write: `python -m shard.reshard`.

tables     what the databases keep of it: the map, the journal, the lease, what a person asked for
server     a shard's primary as the mover reaches it, and sessions that stop working when the lease is another's
lease      one mover at a time
journal    where every bucket stands; each step is written before the next begins
checks     what cannot work is refused before anything starts
structure  a bucket's tables on another shard: definitions, grants, and whether they changed meanwhile
copying    rows of one snapshot, throttled, and their checksum
stream     publication, slot and subscription; how far the target is
fence      the moment of the move: writes refused, the last ones waited for, the map flipped, writes taken again
filling    from nothing at the target to a copy that follows
crossing   from a copy that follows to writes at the target, in a moment that suits
bucket     one bucket from its shard to another, or back to where it was
context    what every move needs
mover      all of them: how many at once, pause, abort, progress
"""
