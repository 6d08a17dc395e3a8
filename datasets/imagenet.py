"""ImageNet, the 1,000 classes of ILSVRC 2012: a folder that the user has, streamed."""

from pathlib import Path

from bench.data.base import ImageFiles
from bench.datasets._folders import ImageFolders


class ImageNet(ImageFolders):
    """1,281,167 training images; the 50,000 validation images of the challenge are the test part.

    Labels 0 to 999 are the sorted names of the class folders. Training images are cropped at random and scaled to
    224x224 (`resized-crop`); in evaluation the short side is scaled to 256 and the centre taken. Mean and standard
    deviation are those that torchvision's networks are trained with.
    """

    name = "imagenet"
    summary = (
        "ImageNet (ILSVRC 2012): 1,331,167 photographs of 1,000 things at 224x224; streamed from a folder you have."
    )
    reference = "Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge, 2015"
    classes = 1000
    counts = (1_281_167, 50_000)
    about = (
        "It is ILSVRC 2012, classification (ILSVRC2012_img_train.tar, 138 GB, and ILSVRC2012_img_val.tar, 6 GB), which "
        "image-net.org gives to those who register and agree to its terms."
    )
    layout = (
        "DIR/imagenet/train/<wnid>/*.JPEG   one folder a class, such as n01440764",
        "DIR/imagenet/val/<wnid>/*.JPEG     the validation images, sorted into folders of the same names",
    )

    def load(self, folder: Path) -> tuple[ImageFiles, ImageFiles]:
        """Training and test images; see `Dataset.load`."""
        train, test = (self.by_class(folder, f"imagenet/{part}") for part in ("train", "val"))
        other = sorted(train.keys() ^ test.keys())
        if other:
            raise self.refused(folder, f"class folder {other[0]} is in only one of imagenet/train and imagenet/val")
        return self.parts(folder, train, test)
