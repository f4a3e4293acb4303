"""A picture that a visitor uploaded, before an attack on it is asked for."""

from __future__ import annotations

import streamlit as st
from torch import Tensor

from lab.storage.array_disposal import PICTURE
from lab.web.session import store

OFFERED = "offered picture"  # there, too: digest and array of what was uploaded last


def offer_picture(picture: Tensor) -> str:
    """Keep an uploaded picture with this page, and nowhere else, until an attack on it is ordered.

    picture: (1, *shape) uint8.  Returns its digest, for the order.
    """
    digest = store().arrays.digest({PICTURE: picture})
    st.session_state[OFFERED] = digest, picture
    return digest
