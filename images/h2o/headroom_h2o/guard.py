"""The guard beside a node: starts it with all the others, has all leave a broken cloud, keeps the leader's label."""

from __future__ import annotations

import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping

from headroom_h2o import kube, node, peers
from headroom_h2o.membership import Age, Member, Phase, decide
from headroom_h2o.process import Shared
from headroom_h2o.settings import Settings, password

ROUND_SECONDS = 1.0
LABEL = "headroom.dev/h2o-role"
LABEL_AGAIN_SECONDS = 30.0
STUCK_SECONDS = 60.0
# Before H2O listens its port refuses just as it does once the process is dead.
STARTED = ("forming", "whole", "broken", "silent")

Ask = Callable[[Mapping[str, str]], dict[str, Member | None]]
Look = Callable[[], node.View]
Label = Callable[[str], None]


class Guard:
    """One node's guard. Clock and outside world are given, so that a test can be all of them."""

    def __init__(
        self, settings: Settings, *, look: Look, ask: Ask, label: Label, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._shared = Shared(settings.run)
        self._look, self._ask, self._label, self._clock = look, ask, label, clock
        self._lock = threading.Lock()
        self._view = node.View("gone")
        self._seen: dict[str, float] = {}
        self._labelled: tuple[str, float] | None = None
        self._listened = False
        self._whole_at: float | None = None
        self._ordered_at = self.ticked_at = clock()
        recalled = self._shared.recall()
        if recalled:
            self._me = self._member("running", *recalled)
        else:
            self._shared.order(None)
            self._me = self._member("leaving", secrets.token_hex(8), frozenset())

    def state(self) -> dict[str, object]:
        """What peers and people are told."""
        with self._lock:
            return {
                **peers.told(self._me),
                "view": self._view.state,
                "leads": self._view.leads,
                "cloud": self._view.cloud,
            }

    def ready(self) -> bool:
        """Whether this node is in a whole cloud of the expected size."""
        with self._lock:
            return self._me.phase == "running" and self._view.state == "whole"

    def live(self) -> bool:
        """Whether the rounds go on."""
        return self._clock() - self.ticked_at < STUCK_SECONDS

    def round(self) -> None:
        """Look once, decide, act."""
        now = self._clock()
        view = self._look() if self._me.phase == "running" else node.View("gone")
        found = self._ask(self._settings.peers)
        self._note(view, found, now)
        if self._me.phase == "running" and self._died():
            self._leave("the process has ended")
        elif self._me.phase == "leaving":
            if self._shared.running() is None and self._settings.belongs:
                self._become(self._member("waiting", self._me.token, frozenset()))
        else:
            self._follow(found, now)
        self._keep_label(now)
        self.ticked_at = self._clock()

    def _follow(self, found: Mapping[str, Member | None], now: float) -> None:
        whole = None if self._whole_at is None else now - self._whole_at
        unseen = {name: now - self._seen.get(name, self._ordered_at) for name in found}
        decision = decide(self._me, found, Age(now - self._ordered_at, whole, unseen))
        if decision.what == "leave":
            self._leave(decision.reason)
        elif decision.what == "start":
            self._start(decision.together, found, now)

    def _note(self, view: node.View, found: Mapping[str, Member | None], now: float) -> None:
        with self._lock:
            self._view = view
        self._seen |= {name: now for name, peer in found.items() if peer is not None}
        if self._me.phase != "running":
            return
        self._listened |= view.state in STARTED
        # Silence is no sign of a break: a node may be busy for long. Peers and H2O itself see what is.
        if view.state == "whole" or (view.state == "silent" and self._whole_at is not None):
            if self._whole_at is None:
                print(f"in a cloud of {self._settings.nodes}", flush=True)
            self._whole_at = now

    def _died(self) -> bool:
        if self._shared.running() == self._me.token:
            return self._view.state == "gone" and self._listened
        # The order may not have been read yet.
        return self._listened or self._clock() - self._ordered_at > STUCK_SECONDS

    def _start(self, together: frozenset[str], found: Mapping[str, Member | None], now: float) -> None:
        self._ordered_at, self._whole_at, self._listened = now, None, False
        self._seen = dict.fromkeys(found, now)
        self._shared.login(node.USER, password(self._settings.login))
        addresses = [p.address for p in found.values() if p is not None]
        self._shared.flatfile([self._settings.address, *addresses])
        self._shared.remember(self._me.token, together)
        self._shared.order(self._me.token)
        self._become(self._member("running", self._me.token, together))
        print(f"starting with {len(together) - 1} others", flush=True)

    def _leave(self, reason: str) -> None:
        print(f"leaving: {reason}", flush=True)
        with self._lock:
            self._view = node.View("gone")
        self._shared.order(None)
        self._become(self._member("leaving", secrets.token_hex(8), frozenset()))

    def _keep_label(self, now: float) -> None:
        role = "leader" if self.ready() and self._view.leads else "member"
        if self._labelled and self._labelled[0] == role and now - self._labelled[1] < LABEL_AGAIN_SECONDS:
            return
        try:
            self._label(role)
            self._labelled = (role, now)
        except (OSError, kube.ApiError) as error:
            print(f"cannot label the pod: {error}", flush=True)

    def _become(self, me: Member) -> None:
        with self._lock:
            self._me = me

    def _member(self, phase: Phase, token: str, together: frozenset[str]) -> Member:
        return Member(self._settings.pod, token, phase, together, self._settings.address)


def main() -> int:
    """Guard until told to end; the node's container ends by itself then."""
    settings = Settings.read()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    guard = Guard(
        settings,
        look=lambda: node.look(password(settings.login), settings.nodes),
        ask=peers.ask,
        label=lambda role: kube.label(settings.namespace, settings.pod, LABEL, role),
    )
    peers.serve(guard.state, {"/ready": guard.ready, "/live": guard.live})
    while not stop.wait(ROUND_SECONDS):
        guard.round()
    return 0
