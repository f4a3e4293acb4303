"""The passphrase of whoever looks after a class: from the environment, or from a secrets file."""

from __future__ import annotations

import hmac
import os
import time
import tomllib
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from threading import Lock

from lab import ROOT
from lab.common.settings import SettingError

ADMIN = "LEAKLAB_ADMIN"  # the environment variable
SECRETS = ROOT / ".streamlit" / "secrets.toml"  # or there, as leaklab_admin = "..."
SHORTEST = 12  # letters
TRIES = 5  # wrong ones of a visitor
TRIES_OF_ADDRESS = 50  # wrong ones of all visitors from one network address
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


def check_open(host: str, for_class: bool = False) -> None:
    """Raises SettingError where others would reach a lab that nobody can look after.

    for_class: whether a proxy lets others reach it, whatever the host is
    """
    if (is_loopback(host) and not for_class) or passphrase():
        return
    asked = f"--host {host}" if not is_loopback(host) else "--class"
    why = f"--host is {host}, which" if not is_loopback(host) else "--class is for a lab that"
    raise SettingError(
        f"{why} others can reach, and there is no passphrase for the Admin page: "
        f"set one, such as {ADMIN}='four words of your own' leaklab app {asked}, or put "
        f'leaklab_admin = "..." into {SECRETS}'
    )


@dataclass(frozen=True)
class Try:
    """A wrong passphrase."""

    when: float
    visitor: str
    address: str


@dataclass
class Gate:
    """Lets in whoever knows the passphrase, and slows down whoever guesses.

    Guesses are counted by visitor and by network address.  Nobody is kept out by guesses from other
    addresses, however many cookies a program makes up.  A visitor who knew the passphrase once is
    kept out by nobody but itself.
    """

    wrong: list[Try] = field(default_factory=list)
    known: set[str] = field(default_factory=set)  # visitors who have opened it
    lock: Lock = field(default_factory=Lock)  # the threads of all sessions ask

    def opens(self, given: str, visitor: str = "", address: str = "") -> bool:
        """Takes as long for a wrong one as for a right one.  Raises SettingError: too many."""
        with self.lock:
            self._check(visitor, address)
            expected = passphrase()
            if expected and hmac.compare_digest(given.encode(), expected.encode()):
                self.known.add(visitor)
                return True
            self.wrong.append(Try(time.monotonic(), visitor, address))
            return False

    def _check(self, visitor: str, address: str) -> None:
        now = time.monotonic()
        self.wrong[:] = [each for each in self.wrong if now - each.when < WINDOW]
        mine = [each for each in self.wrong if each.visitor == visitor]
        near = [each for each in self.wrong if each.address == address]
        for found, most in ((mine, TRIES), (near, TRIES_OF_ADDRESS)):
            if len(found) < most or (found is near and visitor in self.known):
                continue
            whose = "" if found is mine else " from your network address"
            wait = WINDOW - (now - found[0].when)
            raise SettingError(f"{len(found)} wrong passphrases{whose}: wait {wait:.0f} seconds")
