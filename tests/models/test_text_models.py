"""Text: what is typed, and the models that learn it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from datasets import DATA_SOURCES
from datasets.sources.chat import LENGTH, TEST, TRAIN, UNKNOWN
from lab import run
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.summary import summarise
from lab.engine.run import initial_state
from lab.models.architectures import MODELS
from lab.models.layers.transformer import Block
from lab.models.network import Network
from tests.support.data import examples_of
from tests.support.typed_text import moment_of, typed

# --- the data -------------------------------------------------------------------------------------


def test_a_window_is_what_its_person_typed_and_is_followed_by_its_label() -> None:
    """Every window of two people is somewhere in their messages, the next word behind it."""
    from datasets.sources import chat

    held, examples = chat._archive(), examples_of("chat")
    ends = [*held["message_start"][1:].tolist(), len(held["tokens"])]
    for person in (0, 199):
        mine = torch.from_numpy((held["message_person"] == person).nonzero()[0])
        start, end = int(held["message_start"][mine[0]]), ends[int(mine[-1])]
        stream_of = held["tokens"][start:end].tolist()
        every = {tuple(stream_of[k : k + LENGTH + 1]) for k in range(len(stream_of) - LENGTH)}
        assert examples.groups is not None
        chosen = (examples.groups == person).nonzero().flatten()
        assert len(chosen) == TRAIN
        windows = torch.cat([examples.inputs[chosen], examples.labels[chosen].unsqueeze(1)], dim=1)
        assert {tuple(row) for row in windows.long().tolist()} <= every


def test_the_first_window_reads_as_it_was_typed() -> None:
    words, examples = DATA_SOURCES["chat"].classes, examples_of("chat")
    told = " ".join(words[k] for k in examples.inputs[0].long().tolist())
    assert told == ("¶ [rare] [rare] for [rare] [rare] ¶ well i got married so i got that going")
    assert words[int(examples.labels[0])] == "for"
    assert len(words) == 3000
    assert words[:4] == ("[none]", "¶", "[rare]", "i")
    assert not [word for word in words if "<" in word]  # which a page would take for a tag


def test_nobody_is_asked_for_a_word_that_is_not_in_the_vocabulary() -> None:
    examples = examples_of("chat")
    assert UNKNOWN not in examples.labels
    assert UNKNOWN not in examples.test_labels
    assert len(examples.test_labels) == 200 * TEST
    assert 0 not in examples.inputs  # padding is never typed


def test_a_picture_of_the_federation_tells_few_words_apart() -> None:
    shown = summarise(typed())
    assert len(shown.classes) == 10
    assert shown.classes[-1] == "2,991 others"
    counts = torch.tensor(shown.counts)
    assert int(counts.sum()) == DATA_SOURCES["chat"].size
    assert (counts[:, :-1].sum(dim=0).diff() <= 0).all()


# --- the models -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "value", "told"), [
    ("model.kind", "mlp", "model.kind mlp needs pictures or table and chat is text: use keyboard"),
    ("data.source", "digits", "model.kind transformer needs text and digits is pictures: use log"),
    ("training.precision", "bfloat16", "training.precision is bfloat16, which cannot hold"),
    ("privacy.backend", "opacus", "privacy.backend is opacus, and model.kind transformer has no"),
])  # fmt: skip
def test_what_does_not_go_with_text_is_refused(path: str, value: str, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        typed().changed({path: value})


def test_a_block_is_the_one_of_pytorch() -> None:
    """`nn.TransformerEncoderLayer`, normalised first, with a causal mask."""
    block, generator = Block("one", 12, 3, 20), torch.Generator().manual_seed(0)
    own = [torch.randn(shape, generator=generator).double() for shape in block.shapes().values()]
    theirs = nn.TransformerEncoderLayer(
        12, 3, 20, dropout=0.0, batch_first=True, norm_first=True
    ).double()
    zeros = torch.zeros(36).double()
    names = ["norm1.weight", "norm1.bias", "self_attn.out_proj.weight", "norm2.weight"]
    names += ["norm2.bias", "linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]
    state = dict(zip(names, [*own[:2], *own[5:]], strict=True)) | {
        "self_attn.in_proj_weight": torch.cat(own[2:5]),
        "self_attn.in_proj_bias": zeros,
        "self_attn.out_proj.bias": zeros[:12],
    }
    theirs.load_state_dict(state)
    inputs = torch.randn(4, 5, 12, generator=generator).double()
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    assert torch.allclose(block(own, inputs), theirs(inputs, src_mask=mask), atol=1e-12)


def test_no_place_sees_a_later_one() -> None:
    network = Network(MODELS["transformer"](), (6,), 9)
    own = network.owned(network.split(network.initial(random_stream(0, "model"))))
    inputs = torch.tensor([[1.0, 2, 3, 4, 5, 6], [1, 2, 3, 8, 8, 8]])
    for layer, mine in zip(network.layers[:-2], own[:-2], strict=True):
        inputs = layer(mine, inputs)
    assert torch.allclose(inputs[0, :3], inputs[1, :3], atol=1e-6)
    assert not torch.allclose(inputs[0, 3], inputs[1, 3], atol=1e-3)


def test_the_weights_that_are_multiplied_are_counted_by_hand() -> None:
    """Six operations each: a dense layer once, a block's at every place, a lookup never."""
    keyboard = Network(MODELS["keyboard"](width=3, hidden=8), (6,), 5)
    assert keyboard.work == 6 * (18 * 8 + 8 * 5)
    transformer = Network(MODELS["transformer"](heads=1, each=4, depth=1), (6,), 5)
    assert transformer.work == 6 * (6 * (4 * 16 + 2 * 4 * 16) + 4 * 5)


@pytest.mark.parametrize(("kind", "rate"), [("keyboard", 1.0), ("transformer", 0.1)])
def test_it_learns_what_comes_next(kind: str, rate: float) -> None:
    small = {"model__hidden": 32} if kind == "keyboard" else {"model__heads": 1}
    now = typed(
        model={"kind": kind}, training__rounds=2, training__steps=12, training__rate=rate,
        training__batch_size=20, training__clients_per_round=2,
    ).changed({path.replace("__", "."): value for path, value in small.items()})  # fmt: skip
    losses = [moment.record.loss for moment in run(now)]
    assert losses[-1] is not None
    assert losses[-1] < 7.4  # untrained it is 8.0: of 3,000 words, each as likely


SMALL = {"model__heads": 1, "model__each": 8, "data__examples": 400}


@pytest.mark.parametrize("privacy", ["example", "client"])
def test_it_trains_under_privacy(privacy: str) -> None:
    """How a private step clips each window is tested with all layers."""
    now = typed(privacy__kind=privacy, privacy__noise=1.0, **SMALL)
    moment = moment_of(now)
    assert moment.record.loss is not None
    assert moment.record.epsilon is not None
    assert not torch.equal(moment.state.model, initial_state(now).model)


def test_under_masks_it_learns_the_same() -> None:
    masked, bare = (
        moment_of(typed(secure_aggregation__enabled=enabled, **SMALL)) for enabled in (True, False)
    )
    assert torch.allclose(masked.state.model, bare.state.model, atol=1e-5)
