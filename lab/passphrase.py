"""The passphrase of whoever looks after a class: from the environment, or from a secrets file."""

from __future__ import annotations

import hmac
import os
import time
import tomllib
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from lab import ROOT
from lab.settings import SettingError

ADMIN = "LEAKLAB_ADMIN"  # the environment variable
SECRETS = ROOT / ".streamlit" / "secrets.toml"  # or there, as leaklab_admin = "..."
SHORTEST = 12  # letters
TRIES, TRIES_OF_ALL = 5, 200  # wrong ones of a visitor, and of all together
WINDOW = 60.0  # seconds after which they are forgotten


def passphrase(secrets: Path = SECRETS) -> str:
    """What was set; empty where nothing was.  Raises SettingError for one that is too short."""
    found = os.environ.get(ADMIN, "")
    if not found and secrets.is_file():
        try:
            found = str(tomllib.loads(secrets.read_text(encoding="utf-8")).get("leaklab_admin", ""))
        except ValueError as error:
            raise SettingError(f"{secrets} is no TOML file: {error}") from None
    if found and len(found) < SHORTEST:
        raise SettingError(
            f"the passphrase has {len(found)} letters: give {ADMIN} {SHORTEST} or more, such as "
            "four words"
        )
    return found


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches that address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_host(host: str) -> None:
    """Raises SettingError where others would reach a lab that nobody can look after."""
    if is_loopback(host) or passphrase():
        return
    raise SettingError(
        f"--host is {host}, which others can reach, and there is no passphrase for the Admin page: "
        f"set one, such as {ADMIN}='four words of your own' leaklab app --host {host}, or put "
        f'leaklab_admin = "..." into {SECRETS}'
    )


@dataclass
class Gate:
    """Lets in whoever knows the passphrase, and slows down whoever guesses."""

    wrong: list[tuple[float, str]] = field(default_factory=list)  # when, and whose

    def opens(self, given: str, visitor: str = "") -> bool:
        """Takes as long for a wrong one as for a right one.  Raises SettingError: too many.

        Whoever guesses keeps no other visitor out, unless by so many guesses as only a program
        makes, and as many visitors.
        """
        now = time.monotonic()
        self.wrong[:] = [(when, whose) for when, whose in self.wrong if now - when < WINDOW]
        mine = [when for when, whose in self.wrong if whose == visitor]
        if len(mine) >= TRIES or len(self.wrong) >= TRIES_OF_ALL:
            told = mine if len(mine) >= TRIES else [when for when, _ in self.wrong]
            wait = WINDOW - (now - told[0])
            raise SettingError(f"{len(told)} wrong passphrases: wait {wait:.0f} seconds")
        expected = passphrase()
        if expected and hmac.compare_digest(given.encode(), expected.encode()):
            return True
        self.wrong.append((now, visitor))
        return False
