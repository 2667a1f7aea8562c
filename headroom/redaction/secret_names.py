"""Which names stand for a secret's value, in the words that people write: `DB_PASSWORD_OLD`, `apiKey`, `SMTP_PWD`.

What describes a secret is none: `PASSWORD_FILE`, `SECRET_NAME`, `TOKEN_TTL`.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ENDINGS = ("password", "passwd", "passphrase", "secret", "token", "credential", "credentials", "pass", "pwd")
"""Of a word, so that `PGPASSWORD` and `dbpass` are met too."""
_NOT_ONE = frozenset({"bypass", "compass", "oldpwd"})
_KEYS = re.compile(
    r"(?:access|account|aes|api|auth|cipher|cookie|crypto|deploy|encrypt|encryption|hmac|jwt|license|master|private|rsa"
    r"|session|shared|sign|signing|ssh|storage|webhook)key$"
)
"""What makes a key a secret one: a key alone is as often a place in a store."""
_DESCRIBE = frozenset(
    """
    age alg algorithm arn attempts audience bucket budget bytes charset class count dir directory enabled encoding
    encryption endpoint expiration expires expiry field file filename folder format hasher header host id interval
    issuer kind label length lifetime limit location max min mode mount name namespace names path policy port prefix
    provider ref refresh region required resource retention rotation scheme seconds size source store suffix ttl
    type uri url user username version volume window
    """.split()  # noqa: SIM905  words read best as words
)


def is_secret(name: str) -> bool:
    """Whether what goes under this name is a secret itself: a secret's word, and after it none that describes one."""
    words = [word.lower() for word in _WORD.findall(name)]
    if words == ["pwd"]:  # a shell's working directory
        return False
    last = 0
    for end in range(1, len(words) + 1):
        pair = "".join(words[max(end - 2, 0) : end])
        if (words[end - 1].endswith(_ENDINGS) and words[end - 1] not in _NOT_ONE) or _KEYS.search(pair):
            last = end
    after = words[last:]
    if after[:1] == ["id"] and words[last - 2 : last] == ["access", "key"]:  # half of an AWS key
        after = after[1:]
    return last > 0 and _DESCRIBE.isdisjoint(after)
