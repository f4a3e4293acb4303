"""Plain words: what a link or a person brings is shown, and is never markup."""

from __future__ import annotations

import pytest

from lab.web.plain_text import plain
from tests.support.app_pages import opened

PICTURE = "![x](http://elsewhere/x.png)"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("batch_size is 0: give 1 to 512", "batch_size is 0: give 1 to 512"),
        (PICTURE, r"!\[x\](http://elsewhere/x.png)"),
        ("<img src=x>", r"\<img src=x>"),
        (":red[big]", r":red\[big\]"),
        ("`a` *b* $c$ ~d~", r"\`a\` \*b\* \$c\$ \~d\~"),
        (r"\[", r"\\\["),
    ],
)
def test_signs_of_markup_are_shown_as_they_are(words: str, shown: str) -> None:
    assert plain(words) == shown


@pytest.mark.parametrize("name", ["run", "model.kind"])
def test_a_link_brings_no_picture_into_the_page(name: str) -> None:
    told = "".join(one.value for one in opened(**{name: PICTURE}).warning)
    assert "elsewhere" in told
    assert PICTURE not in told
