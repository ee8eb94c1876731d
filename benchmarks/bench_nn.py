"""Training steps, an epoch of the example, and what the package costs before it computes."""

from . import common, package, workloads

OURS = workloads.framework("ours")


class TrainMLP(common.Kept):
    """A step of the 784-256-256-10 MLP: batch 64, Adam."""

    def make(self):
        model = workloads.mlp_module(OURS)
        optimizer = OURS.optim.Adam(model.parameters(), lr=1e-3)
        data = workloads.images(OURS, 784)
        self.step = workloads.training_step(OURS, model, optimizer, *data)

    def time_step(self):
        self.step()

    def peakmem_step(self):
        self.step()


class TrainLeNet(common.Kept):
    """A step of LeNet-5: batch 64, SGD with momentum."""

    def make(self):
        model = workloads.lenet_module(OURS)
        optimizer = OURS.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        data = workloads.images(OURS, 1, 28, 28)
        self.step = workloads.training_step(OURS, model, optimizer, *data)

    def time_step(self):
        self.step()

    def peakmem_step(self):
        self.step()


class TrainDigits(common.Kept):
    """An epoch of examples/train_digits.py: 1437 images in batches of 32, Adam."""

    warm = False
    params = ["DataLoader", "batches ready"]
    param_names = ["data"]
    repeat = (3, 10, 10.0)
    count = None
    small = {"count": 64}

    def make(self, data):
        self.epoch = workloads.digits_epoch(OURS, self.count, ready=data == "batches ready")

    def time_epoch(self, data):
        self.epoch()

    def peakmem_epoch(self, data):
        self.epoch()


class Package:
    """Import time in a fresh process, and size on disk."""

    runs = 7
    small = {"runs": 1}

    def track_import(self):
        return package.import_seconds("functorch_like, nn", self.runs)

    def track_installed_size(self):
        return package.installed_bytes() / 1e6

    track_import.unit = "s"
    track_installed_size.unit = "MB"
