"""The entry of the policy pack: `pulumi preview --policy-pack policy` runs this."""

from __future__ import annotations

from pulumi_policy import PolicyPack

from policy.pack import Pack

PolicyPack("headroom", Pack().policies())
