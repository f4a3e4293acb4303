"""Small faces. Huang et al. 2007, 'Labeled Faces in the Wild', by scikit-image.

The data set is small.  It shows what an update leaks, but it is no benchmark for models.
"""

from __future__ import annotations

from io import BytesIO
from typing import ClassVar, Literal

import numpy as np

from datasets.sources.shared.file_lookup import labelled_pictures, package_folder, read
from lab.interfaces.data import DataSource, Examples
from lab.models.layers import Shape

DIGEST = "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"


class Faces(DataSource):
    """Faces and other pictures, 25 x 25 grey: 100 of each from Labeled Faces in the Wild.

    scikit-image cut them out.
    """

    kind: Literal["faces"] = "faces"
    title: ClassVar[str] = "Labeled Faces in the Wild (small)"
    source: ClassVar[str] = "Huang et al. 2007, UMass Amherst TR 07-49; subset of scikit-image 0.26"
    licence: ClassVar[str] = "none stated, so read from the installed package and not copied"
    shape: ClassVar[Shape] = (1, 25, 25)
    classes: ClassVar[tuple[str, ...]] = ("no face", "face")
    size: ClassVar[int] = 160

    def load(self) -> Examples:
        folder = package_folder("skimage", "data")
        content = read("lfw_subset.npy", DIGEST, [folder], "run 'pip install scikit-image'")
        shades = np.load(BytesIO(content), allow_pickle=False)  # (200, 25, 25), faces first
        pixels = np.rint(shades * 255)[:, None]  # (200, 1, 25, 25)
        return labelled_pictures(pixels, np.repeat([1, 0], 100))
