"""What runs beside PostgreSQL: `shard.keeper` in every pod, `shard.bootstrap` and `shard.reshard` in Jobs."""
