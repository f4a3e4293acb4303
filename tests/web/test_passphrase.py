"""The passphrase of a class: who needs one, and what guessers get."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lab.common.settings import SettingError
from lab.web.passphrase import (
    ADMIN,
    TRIES,
    TRIES_OF_ADDRESS,
    Gate,
    check_open,
    is_loopback,
    passphrase,
)

SECRET = "four words of ours"


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("lab.example.org", False),
    ],
)
def test_only_loopback_needs_no_passphrase(
    host: str, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_loopback(host) is own
    monkeypatch.delenv(ADMIN, raising=False)
    if own:
        check_open(host)
        return
    with pytest.raises(SettingError, match=f"LEAKLAB_ADMIN='four words.*--host {host.strip('[]')}"):
        check_open(host)
    monkeypatch.setenv(ADMIN, SECRET)
    check_open(host)


def test_a_passphrase_is_long_and_may_be_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ADMIN, raising=False)
    file = tmp_path / "secrets.toml"
    assert passphrase(file) == ""
    file.write_text(f'leaklab_admin = "{SECRET}"\n')
    assert passphrase(file) == SECRET
    file.write_text("leaklab_admin = ")
    with pytest.raises(SettingError, match="is no TOML file"):
        passphrase(file)
    monkeypatch.setenv(ADMIN, "short")
    with pytest.raises(SettingError, match="has 5 letters: give LEAKLAB_ADMIN 12 or more"):
        passphrase(file)


def test_the_gate_opens_for_the_passphrase_and_closes_on_guessers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ADMIN, SECRET)
    gate = Gate()
    assert gate.opens(SECRET)
    for _ in range(TRIES):
        assert not gate.opens("no")
    with pytest.raises(SettingError, match="5 wrong passphrases: wait"):
        gate.opens(SECRET)
    gate.wrong[:] = [replace(each, when=each.when - 61) for each in gate.wrong]
    assert gate.opens(SECRET)
    monkeypatch.delenv(ADMIN)
    assert not gate.opens("")


def test_who_guesses_keeps_nobody_else_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADMIN, SECRET)
    gate = Gate()
    for _ in range(TRIES):
        assert not gate.opens("a guess of mine", "student")
    with pytest.raises(SettingError, match="5 wrong passphrases: wait"):
        gate.opens(SECRET, "student")
    assert gate.opens(SECRET, "teacher")


def test_made_up_cookies_keep_the_admin_out_neither_elsewhere_nor_once_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C7: forty cookies with five guesses each kept everybody out, for as long as they went on."""
    monkeypatch.setenv(ADMIN, SECRET)
    gate = Gate()
    assert gate.opens(SECRET, "assistant", "the classroom")
    refused = 0
    for number in range(200):
        try:
            assert not gate.opens("a guess", f"cookie {number // TRIES}", "the classroom")
        except SettingError as error:
            refused += "from your network address" in str(error)
    assert refused == 200 - TRIES_OF_ADDRESS  # so that guesses are as few as they were
    assert gate.opens(SECRET, "teacher", "the staff room")
    assert gate.opens(SECRET, "assistant", "the classroom")
    with pytest.raises(SettingError, match="50 wrong passphrases from your network address"):
        gate.opens(SECRET, "yet another cookie", "the classroom")


def test_guesses_of_many_threads_are_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()

    def slow() -> str:
        time.sleep(0.001)  # in which another thread may look at the list
        return SECRET

    def guess(number: int) -> int:
        try:
            return int(gate.opens("a guess", f"cookie {number}", "one"))
        except SettingError:
            return 1

    monkeypatch.setattr("lab.web.passphrase.passphrase", slow)
    with ThreadPoolExecutor(16) as threads:
        refused = sum(threads.map(guess, range(200)))
    assert refused == 200 - TRIES_OF_ADDRESS
    assert len(gate.wrong) == TRIES_OF_ADDRESS
