"""What runs beside PostgreSQL and Patroni in a shard: `shard.keeper` in every pod, `shard.bootstrap` in a Job."""
