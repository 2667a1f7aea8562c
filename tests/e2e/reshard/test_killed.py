"""The mover killed in its pod when it is about to write down each step: the next one goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bench.postgres.site import NAMESPACE, Site, until
from bench.reshard.load import Load
from bench.reshard.pods import Resizing, Store, mover
from headroom.errors import EnvironmentFailure
from headroom.local import faults

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
STEPS = ("copying", "following", "fencing", "flipped", "opened", "done")
HOLD = """
CREATE TABLE public.held_at (step text);
CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM public.held_at WHERE step = NEW.step) THEN PERFORM pg_sleep(25); END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE UPDATE OF step ON headroom.move FOR EACH ROW EXECUTE FUNCTION public.hold()
"""
LET_GO = "DROP TRIGGER hold ON headroom.move; DROP FUNCTION public.hold; DROP TABLE public.held_at"
HELD = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name LIKE 'reshard-%'"


def test_the_next_mover_goes_on_from_every_step(store: Store, load: Callable[..., Load]) -> None:
    site = store.site
    store.resize(2)
    keys = store.fill(20_000, "killed")
    writing = load(writers=2, deadline_s=120.0)
    with writing.running():
        with holding(site):
            for step in STEPS:
                growing, working = about_to_say(store, step)
                site.kubectl.run("delete", "job", "-n", NAMESPACE, "-l", "app=pg-move", "--wait=false")
                faults.kill(site.cluster, NAMESPACE, working)
                assert isinstance(growing.ended(), EnvironmentFailure), "its Job is gone"
            # And in the fence, for its Job to start the next one by itself.
            growing, working = about_to_say(store, "flipped")
            faults.kill(site.cluster, NAMESPACE, working)
            waited = until(lambda: mover(site) not in (None, working), 120, "another mover")
            assert growing.ended() is None
        writing.wait_for(50)
    print(store.report(writing, 3), *writing.slow, f"another mover after {waited:.0f} s", sep="\n")
    assert writing.failed == []
    store.check(writing, keys, 3)


def about_to_say(store: Store, step: str) -> tuple[Resizing, str]:
    """A resize, up to the moment in which its mover is about to write the step down; and that mover's pod."""
    site = store.site
    # Sessions of the one killed before sleep on; its successor ends them.
    former, held = mover(site), ask(site, HELD).split()
    ask(site, f"INSERT INTO held_at VALUES ('{step}')")  # noqa: S608  our own word
    growing = Resizing(store, 3)
    until(
        lambda: bool(set(ask(site, HELD).split()) - set(held)) or not growing.going,
        300,
        f"the mover is about to say {step}",
    )
    assert growing.going, f"it ended before {step}"
    working = mover(site)
    assert working is not None and working != former
    ask(site, "DELETE FROM held_at")
    return growing, working


@contextmanager
def holding(site: Site) -> Iterator[None]:
    """Whoever writes a step down that is held waits for a while before its commit, or until it is ended."""
    ask(site, HOLD)
    try:
        yield
    finally:
        ask(site, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        ask(site, LET_GO)


def ask(site: Site, statement: str) -> str:
    """Of shard 0's primary, as its superuser."""
    leader = site.leader(0)
    assert leader is not None
    return site.sql(leader, statement)
