"""What a membership attack came to: in a sentence, in numbers, and who is exposed most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st
from torch import Tensor

from lab import figures
from lab.figures.example_images import png
from lab.privacy.guarantee import ceiling_of
from lab.scoring.attack_result import AttackResult
from lab.scoring.membership.further_scores import OtherClientsScore, PooledScore
from lab.scoring.membership.leakage_by_group import GroupLeakage, LeakageByGroup, Shown
from lab.scoring.membership.membership_score import MembershipScore
from lab.scoring.property_score import PropertyScore
from lab.scoring.secret_score import SecretExposureScore
from lab.web.displays.chart import draw
from lab.web.session import sentence

PRIORS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5)


def show(result: AttackResult, pictures: Mapping[str, Tensor], names: tuple[str, ...]) -> None:
    """names: of the classes"""
    found, ceiling = result.score, ceiling_of(result.guarantee)
    if not isinstance(found, MembershipScore):
        if isinstance(found, SecretExposureScore):
            draw(figures.secrets(found), "secrets", "How exposed each secret is")
        if isinstance(found, PropertyScore):
            draw(figures.said(found), "said", "Said and true shares")
        for line in result.lines():
            st.markdown(f"- {sentence(line)}")
        return
    _verdict(found)
    _numbers(found)
    left, right = st.columns(2)
    draw(figures.roc(found, ceiling), "roc", "ROC on log axes", left)
    left.caption(_ceiling_told(result))
    draw(figures.histogram(found), "scores", "Histogram of scores", right)
    with right:
        _believed(found)
    _besides(result)
    _labels(found)
    groups = result.find(LeakageByGroup)
    _exposed(pictures, groups, names)
    if groups:
        _groups(groups, names)
    with st.expander("In words, with all that was assumed"):
        for line in result.lines():
            st.markdown(f"- {sentence(line)}")


def _verdict(found: MembershipScore) -> None:
    """A sign and a sentence, before any number."""
    if found.verdict.startswith("invalid"):
        st.error(
            f"**{sentence(found.verdict)}.** If another seed shows the same, the numbers below do "
            "not measure membership.",
            icon=":material/block:",
        )
        return
    st.subheader(sentence(found.verdict), anchor=False)
    st.markdown(
        f"Shown one member and one other, the attack names the member in **{found.auc:.0%}** of "
        "cases. A coin would in 50%."
    )


def _numbers(found: MembershipScore) -> None:
    with st.container(horizontal=True, gap="medium"):
        between = f"{found.auc_low:.3f} to {found.auc_high:.3f} (95 %, bootstrap)"
        st.metric("AUC", f"{found.auc:.3f}", width="content", help=between)
        for rate in found.rates:
            name = f"TPR at {rate.false_positives:.1%} FPR"
            value = "too few to say" if rate.value is None else f"{rate.value:.2%}"
            st.metric(name, value, width="content", help=rate.sentence())
        if found.balanced:
            value, why = f"{found.balanced.value:.1%}", found.balanced.sentence()
            st.metric("Balanced accuracy", value, width="content", help=why)
        if found.blind is not None:
            value = f"{found.blind:.3f}"
            st.metric("Blind guess, AUC", value, width="content", help=found.baseline())
        if found.ceiling_auc is not None:
            st.metric("Ceiling, AUC", f"{found.ceiling_auc:.3f}", width="content")
    told = [
        f"AUC between {found.auc_low:.3f} and {found.auc_high:.3f} (95 %, bootstrap), from "
        f"{found.members:,} members and {found.others:,} others",
        *(rate.sentence() for rate in found.rates),
        sentence(found.baseline()),
    ]
    st.caption(". ".join(told) + ".")


def _ceiling_told(result: AttackResult) -> str:
    if result.guarantee:
        return f"Guaranteed: {result.guarantee.sentence()}."
    return "No privacy guarantee, so there is no ceiling on what an attack can reach."


def _believed(found: MembershipScore) -> None:
    """What an accusation is worth, where the user says how common members are."""
    prior = st.select_slider(
        "Members among all whom one might ask about", PRIORS, 0.01, format_func="{:.1%}".format
    )
    for rate in found.rates:
        at = f"at {rate.false_positives:.1%} false positives"
        if (share := rate.believed(prior)) is not None:
            told = f"{share[0]:.0%} of the accused are members ({share[1]:.0%} to {share[2]:.0%})"
            st.markdown(f"Then, {at}, {told}.")
        else:
            st.caption(f"{sentence(at)}: {rate.note}.")


def _besides(result: AttackResult) -> None:
    """The exposures that the attack was given besides, such as with models like this one."""
    for extra in result.extras:
        if not isinstance(extra, (PooledScore, OtherClientsScore)):
            continue
        with st.expander(extra.title, True):
            for line in extra.score_lines():
                st.markdown(f"- {sentence(line)}")
            figure = figures.roc(extra.score, ceiling_of(result.guarantee))
            draw(figure, f"{extra.kind} roc", f"ROC, {extra.kind}")


def _labels(found: MembershipScore) -> None:
    """What is left when members are compared with others of the same label."""
    strata = found.strata
    if strata is None:
        return
    st.markdown("#### Labels, or membership?")
    if strata.given is not None and strata.leaked is not None:
        with st.container(horizontal=True, gap="medium"):
            st.metric("Membership given the label, AUC", f"{strata.given:.3f}", width="content")
            leaked = f"{strata.leaked:+.3f}"
            st.metric("Label-distribution leakage, AUC", leaked, width="content")
    st.caption(". ".join(sentence(line) for line in strata.lines()) + ".")


def _exposed(
    pictures: Mapping[str, Tensor], found: LeakageByGroup | None, names: tuple[str, ...]
) -> None:
    """The members that give themselves away most, and least."""
    for name in ("most", "least"):
        if name not in pictures:
            continue
        st.markdown(f"**The {name} exposed members**")
        shown = (found.most if name == "most" else found.least) if found else ()
        _examples(pictures[name], shown, names)


def _examples(several: Tensor, shown: Sequence[Shown], names: tuple[str, ...]) -> None:
    if several.ndim != 4:
        st.dataframe(several.numpy(), alt="Examples, one a row")
    elif len(shown) == len(several):
        captions = [f"{names[each.label]}, score {each.score:.2g}" for each in shown]
        alts = [f"A member, {names[each.label]}" for each in shown]
        st.image([png(picture, side=84) for picture in several], captions, width=92, alt=alts)
    else:
        alts = ["A member"] * len(several)
        st.image([png(picture, side=56) for picture in several], width=64, alt=alts)


def _groups(found: LeakageByGroup, names: tuple[str, ...]) -> None:
    st.markdown("#### Who is leaked most?")
    for line in found.lines(names):
        st.markdown(f"- {sentence(line)}.")
    left, right = st.columns(2)
    with left:
        _group("class", found.classes, [names[each.number] for each in found.classes])
    with right:
        _group("client", found.clients, [str(each.number) for each in found.clients])


def _group(kind: str, found: Sequence[GroupLeakage], names: list[str]) -> None:
    if any(each.auc is not None for each in found):
        draw(figures.groups(found, names, kind), kind, f"AUC of each {kind}")
    few = [each.told(name) for name, each in zip(names, found, strict=True) if each.auc is None]
    if few:
        more = f"; the same holds for {len(few) - 1} more" if len(few) > 1 else ""
        st.caption(f"{sentence(kind)} {few[0]}{more}.")
