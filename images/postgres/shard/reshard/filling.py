"""A bucket at the target beside the source's: its tables, the rows of one snapshot, proof that they are all there, and
the stream of what is committed since."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from psycopg import sql

from shard.reshard import copying, journal, stream, structure
from shard.reshard.context import Context, Stopped
from shard.reshard.journal import Move, Step
from shard.reshard.server import Session


def fill(context: Context, lead: Session, source: Session, target: Session, bucket: int) -> Move:
    """From nothing at the target to a stream that it follows. Raises Broken, Stopped."""
    planned = journal.confirmed(lead, bucket)
    size = source.one(
        "SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint FROM pg_class "
        "WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'",
        (planned.schema,),
    )[0]
    journal.write(
        lead, bucket, Step.copying, token=secrets.token_hex(4), attempt=planned.attempt + 1,
        source_timeline=source.timeline(), target_timeline=target.timeline(),
        fingerprint=structure.fingerprint(source, planned.schema), bytes=size, copied=0, rows=0,
    )  # fmt: skip
    lead.run("UPDATE headroom.move SET started = coalesce(started, now()) WHERE bucket = %s", (bucket,))
    move = journal.confirmed(lead, bucket)
    context.reached("copying", bucket)
    tables = structure.tables(source, move.schema)
    dump = structure.definitions(source.server, move.schema)
    with context.session(move.target) as other:
        structure.define(dump, other, "pre-data")
    context.reached("defined", bucket)
    stream.publish(source, move, tables)
    context.reached("published", bucket)
    with copying.slot_with_snapshot(source.server, context.holder, move.slot) as snapshot:
        context.reached("slot", bucket)
        with copying.reading(source, snapshot):
            rows = _rows(context, lead, source, target, move, tables, dump)
    context.reached("checked", bucket)
    stream.subscribe(source.server, target, move)
    context.reached("subscribed", bucket)
    journal.write(lead, bucket, Step.following, rows=rows)
    context.reached("following", bucket)
    return journal.confirmed(lead, bucket)


def _rows(
    context: Context, lead: Session, source: Session, target: Session, move: Move, tables: list[str], dump: bytes
) -> int:
    """Copy the rows of the snapshot, and prove that they are all there. Returns how many."""
    told = time.monotonic()
    total = 0

    def tell(count: int) -> None:
        nonlocal told, total
        total += count
        if time.monotonic() - told > 1:
            told = time.monotonic()
            journal.note(lead, move.bucket, {"copied": total})
            if context.stopping():
                raise Stopped

    with target.transaction():
        for table in tables:
            copying.copy(source, target, move.schema, table, context.throttle, tell)
    journal.note(lead, move.bucket, {"copied": total})
    context.reached("copied", move.bucket)
    with ThreadPoolExecutor(1) as pool:  # the source need not wait for the target's indexes
        theirs = pool.submit(_sums, source, move, tables)
        with context.session(move.target) as other:
            structure.define(dump, other, "post-data")
        rows = _same(source, target, move, theirs.result(), _sums(target, move, tables))
    for table in tables:
        target.run(sql.SQL("ANALYZE {}").format(sql.Identifier(move.schema, table)))
    return rows


def compare(source: Session, target: Session, move: Move, tables: list[str]) -> int:
    """The number of rows that both have. Raises Broken where they differ."""
    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(_sums, source, move, tables)
        mine = _sums(target, move, tables)
        return _same(source, target, move, theirs.result(), mine)


def _sums(session: Session, move: Move, tables: list[str]) -> dict[str, copying.Sum]:
    return {table: copying.checksum(session, move.schema, table) for table in tables}


def _same(
    source: Session, target: Session, move: Move, theirs: dict[str, copying.Sum], mine: dict[str, copying.Sum]
) -> int:
    for table, held in mine.items():
        if held != theirs[table]:
            raise stream.Broken(
                f"{move.schema}.{table}: {source.server.name} has {theirs[table].rows} rows and "
                f"{target.server.name} {held.rows}, or their content differs"
            )
    return sum(held.rows for held in mine.values())
