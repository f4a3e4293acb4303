"""Data: sources and splits, a file each, and these tables."""

from datasets.adult import Adult
from datasets.chat import Chat
from datasets.concept import Concept
from datasets.digits import Digits
from datasets.dirichlet import Dirichlet
from datasets.faces import Faces
from datasets.fashion_mnist import FashionMnist, FashionMnistFull
from datasets.feature import Feature
from datasets.heart import Heart
from datasets.iid import Iid
from datasets.mnist import Mnist5k
from datasets.natural import Natural
from datasets.people import People
from datasets.photos import Photos
from datasets.quantity import Quantity
from datasets.shards import Shards
from lab.parts import Source, Split

SOURCES = Source.enter(
    FashionMnist, FashionMnistFull, Mnist5k, Digits, Heart, Adult, Photos, Faces, Chat
)
SPLITS = Split.enter(Iid, Dirichlet, Shards, Quantity, Natural, People, Feature, Concept)

__all__ = ["SOURCES", "SPLITS"]
