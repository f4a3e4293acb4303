"""Data sources and partitions, and their tables."""

from datasets.partitions.concept import Concept
from datasets.partitions.dirichlet import Dirichlet
from datasets.partitions.feature import Feature
from datasets.partitions.iid import Iid
from datasets.partitions.natural import Natural
from datasets.partitions.people import People
from datasets.partitions.quantity import Quantity
from datasets.partitions.shards import Shards
from datasets.sources.adult import Adult
from datasets.sources.chat import Chat
from datasets.sources.digits import Digits
from datasets.sources.faces import Faces
from datasets.sources.fashion_mnist import FashionMnist, FashionMnistFull
from datasets.sources.heart import Heart
from datasets.sources.mnist import Mnist5k
from datasets.sources.photos import Photos
from lab.interfaces.data import DataSource, Partition

DATA_SOURCES = DataSource.enter(
    FashionMnist, FashionMnistFull, Mnist5k, Digits, Heart, Adult, Photos, Faces, Chat
)
PARTITIONS = Partition.enter(Iid, Dirichlet, Shards, Quantity, Natural, People, Feature, Concept)

__all__ = ["DATA_SOURCES", "PARTITIONS"]
