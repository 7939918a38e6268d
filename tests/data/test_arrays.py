from __future__ import annotations

import io
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import DataLoader, load_arrays
from chainrule.data.array_form import form_of
from chainrule.data.hdf5 import Hdf5Dataset
from chainrule.errors import DataError, LabelError, ShapeError

h5py = pytest.importorskip("h5py", reason="the extra hdf5 is not installed")
IMAGES = np.arange(20 * 4 * 5 * 3).reshape(20, 4, 5, 3).astype(np.uint8)  # NHWC
LABELS = np.arange(20) % 2


def packed(folder: Path, **arrays: object) -> Path:
    path = folder / "set.npz"
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def stored(folder: Path, **arrays: object) -> Path:
    """Write HDF5 in compressed chunks; "__" in a name stands for a group."""
    path = folder / "set.h5"
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            chunks = {"chunks": True, "compression": "gzip"} if np.ndim(array) else {}
            file.create_dataset(name.replace("__", "/"), data=array, **chunks)
    return path


def files(folder: Path, **arrays: object) -> Path:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)  # type: ignore[arg-type]
    return folder


WRITERS = [packed, stored, files]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    "names", [("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("{}__images", "{}__labels")]
)
def test_parts_by_their_names(tmp_path: Path, write: object, names: tuple[str, str]) -> None:
    if "__" in names[0] and write is not stored:
        pytest.skip("only HDF5 has groups")
    arrays: dict[str, object] = {}
    for k, part in enumerate(("train", "val", "test")):
        arrays[names[0].format(part)] = IMAGES[k * 4 : k * 4 + 4]
        arrays[names[1].format(part)] = LABELS[k * 4 : k * 4 + 4, np.newaxis]
    data = load_arrays(write(tmp_path, **arrays), test=0.9)  # type: ignore[operator]
    assert data.validation is not None
    assert data.classes == ("0", "1")
    for k, part in enumerate((data.train, data.validation, data.test)):
        assert len(part) == 4
        for number, (image, label) in enumerate(part):
            np.testing.assert_array_equal(image, IMAGES[k * 4 + number].transpose(2, 0, 1))
            assert label == number % 2
    assert data.name in ("set", tmp_path.name)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("order", ["NCHW", "NHWC", "NHW"])
@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "?", "f4", "f8", "f2"])
def test_types_and_axes(tmp_path: Path, write: object, order: str, kind: str) -> None:
    images = (IMAGES / 255).astype(kind) if "f" in kind else IMAGES.astype(kind)
    given = {"NCHW": images.transpose(0, 3, 1, 2), "NHWC": images, "NHW": images[..., 0]}[order]
    data = load_arrays(write(tmp_path, images=given, labels=LABELS))  # type: ignore[operator]
    white = {"u1": 255.0, "<u2": 65535.0, ">u2": 65535.0}.get(kind, 1.0)
    assert data.white == white
    assert len(data.train) == 16
    assert len(data.test) == 4
    expected = images[..., :1] if order == "NHW" else images
    number = int(data.test.indices[1])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(data.test[1][0], expected[number].transpose(2, 0, 1))
    (batch, labels), *_ = DataLoader(data.train, 5)
    assert batch.shape == (5, 1 if order == "NHW" else 3, 4, 5)
    assert labels.dtype == np.int64


@pytest.mark.parametrize("write", WRITERS)
def test_kinds_of_labels(tmp_path: Path, write: object) -> None:
    def load(labels: object, **settings: object) -> object:
        path = write(tmp_path, images=IMAGES, labels=np.asarray(labels))  # type: ignore[operator]
        return load_arrays(path, **settings)  # type: ignore[arg-type]

    one_hot = load(np.eye(4)[np.arange(20) % 4])
    assert (one_hot.task, one_hot.train.num_classes) == ("classification", 4)
    table = np.stack([LABELS, 1 - LABELS, np.ones(20)], axis=1)
    assert load(table).task == "multilabel"
    assert load(np.linspace(0, 1, 20)).task == "regression"
    assert load(table * 0.5).task == "regression"
    assert load(LABELS, task="regression").train.targets.dtype == np.float32
    assert load(LABELS.astype(float), task="classification").classes == ("0", "1")
    with pytest.raises(DataError, match="whole numbers as labels"):
        load(LABELS + 0.5, task="classification")
    with pytest.raises(DataError, match="one 1 in each row"):
        load(table, task="classification")
    assert load(LABELS, classes=["cat", "dog", "emu"]).classes == ("cat", "dog", "emu")
    with pytest.raises(LabelError, match="got label 1"):
        load(LABELS, classes=["cat"])
    with pytest.raises(LabelError, match="got label -1"):
        load(LABELS - 1)
    with pytest.raises(DataError, match=r"labels \(N,\) or \(N, K\)"):
        load(np.zeros((20, 2, 2)))
    with pytest.raises(DataError, match="numbers or names"):
        load(LABELS.astype(complex))


@pytest.mark.parametrize("write", WRITERS)
def test_labels_that_are_names(tmp_path: Path, write: object) -> None:
    for names in (np.array([b"\xc3\xa9mu", b"ape"]), ["ému", "ape"]):
        if write is stored:
            labels: object = [bytes(n) if isinstance(n, bytes) else n for n in names] * 10
        else:
            labels = np.array([*names] * 10)
        data = load_arrays(write(tmp_path, images=IMAGES, labels=labels))  # type: ignore[operator]
        assert data.classes == ("ape", "ému")
        assert sorted(data.test.targets) == [0, 0, 1, 1]
    with pytest.raises(DataError, match="expected labels of the classes ape, bee, found 'ému'"):
        load_arrays(
            write(tmp_path, images=IMAGES, labels=labels),  # type: ignore[operator]
            classes=["ape", "bee"],
        )


@pytest.mark.parametrize("write", WRITERS)
def test_classes_in_the_file(tmp_path: Path, write: object) -> None:
    names = np.array([b"cat", b"dog"])
    path = write(tmp_path, images=IMAGES, labels=LABELS, classes=names)  # type: ignore[operator]
    assert load_arrays(path).classes == ("cat", "dog")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"pictures": IMAGES}, "expected arrays images and labels, .*; there are pictures"),
        ({"images": IMAGES}, "expected labels beside its partner"),
        ({"y_train": LABELS}, "expected x_train beside its partner"),
        (
            {"images": IMAGES, "labels": LABELS, "x": IMAGES, "y": LABELS},
            "both images and x are there",
        ),
        ({"images": IMAGES[0, 0], "labels": LABELS}, r"expected images \(N, H, W\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"expected images \(N, H, W\)"),
        ({"images": np.zeros((4, 3, 8, 3)), "labels": LABELS[:4]}, "cannot tell which axis"),
        ({"images": np.zeros((4, 8, 8, 8)), "labels": LABELS[:4]}, "cannot tell which axis"),
        ({"images": IMAGES.astype(np.int64), "labels": LABELS}, "say the value of a white"),
        ({"images": IMAGES.astype(complex), "labels": LABELS}, "images of numbers"),
        ({"images": IMAGES, "labels": np.zeros(())}, r"labels \(N,\)"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES / 255, "y_test": LABELS},
            "parts of one type",
        ),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": np.eye(20)},
            "labels of the same K",
        ),
    ],
)
def test_what_is_no_set_is_named(
    tmp_path: Path, write: object, arrays: dict[str, object], text: str
) -> None:
    path = write(tmp_path, **arrays)  # type: ignore[operator]
    with pytest.raises(DataError, match=text) as caught:
        load_arrays(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("write", WRITERS)
def test_one_image_too_many(tmp_path: Path, write: object) -> None:
    with pytest.raises((DataError, ShapeError), match="20"):
        load_arrays(write(tmp_path, images=IMAGES, labels=LABELS[:19]))  # type: ignore[operator]


@pytest.mark.parametrize("write", WRITERS)
def test_floats_must_be_in_range(tmp_path: Path, write: object) -> None:
    path = write(tmp_path, images=IMAGES.astype(np.float32), labels=LABELS)  # type: ignore[operator]
    with pytest.raises(DataError, match=r"expected floats in 0\.\.1.*say the value of white"):
        load_arrays(path).train[15]
    data = load_arrays(path, white=255.0)
    assert data.white == 255.0
    assert data.train[15][0].max() > 1
    del data  # HDF5 writes no file that is open
    images = (IMAGES / 255).astype(np.float32)
    images[3, 2, 1, 0] = np.nan
    path = write(tmp_path, images=images, labels=LABELS)  # type: ignore[operator]
    for white in (None, 1.0):
        with pytest.raises(DataError, match="nan"):
            walked(path, white=white)
    with pytest.raises(DataError, match="finite white above 0"):
        load_arrays(path, white=-1.0)


def walked(path: Path, **settings: object) -> None:
    """Load a set and read every image of it."""
    data = load_arrays(path, **settings)  # type: ignore[arg-type]
    for part in (data.train, data.test):
        for _ in part:
            pass


def test_layout_can_be_said(tmp_path: Path) -> None:
    path = packed(tmp_path, images=np.zeros((4, 3, 8, 3), np.uint8), labels=LABELS[:4])
    assert load_arrays(path, layout="NCHW").train[0][0].shape == (3, 8, 3)
    assert load_arrays(path, layout="NHWC").train[0][0].shape == (3, 3, 8)
    many = packed(tmp_path, images=np.zeros((4, 8, 9, 5), np.uint8), labels=LABELS[:4])
    assert load_arrays(many, layout="NHWC").train[0][0].shape == (5, 8, 9)
    with pytest.raises(DataError, match="'NCHW', 'NHWC' or None"):
        load_arrays(path, layout="CHWN")  # type: ignore[arg-type]


def test_a_pair_of_files_is_mapped(tmp_path: Path) -> None:
    files(tmp_path, a=IMAGES, b=LABELS)
    data = load_arrays(tmp_path / "a.npy", tmp_path / "b.npy")
    images = data.train.dataset.images  # type: ignore[attr-defined]
    assert isinstance(images.base, np.memmap) or isinstance(images.base.base, np.memmap)
    assert not images.flags.writeable
    with pytest.raises(DataError, match="of their labels as labels="):
        load_arrays(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"expected images\.npy"):
        load_arrays(packed(tmp_path, images=IMAGES), tmp_path / "b.npy")
    with pytest.raises(DataError, match=r"a\.npy, labels: cannot be read .*No such file"):
        load_arrays(tmp_path / "a.npy", tmp_path / "absent.npy")


class Trap:
    """Tells when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    trap = np.array([Trap(), Trap()])
    with pytest.raises(DataError, match=r"images: .*Python objects, which are never read"):
        load_arrays(packed(tmp_path, images=trap, labels=LABELS))
    np.save(tmp_path / "images.npy", trap)
    np.save(tmp_path / "labels.npy", LABELS)
    with pytest.raises(DataError, match=r"images: .*Python objects"):
        load_arrays(tmp_path)
    (tmp_path / "set.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"set\.npz: cannot be read"):
        load_arrays(tmp_path / "set.npz")
    (tmp_path / "images.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="images: cannot be read"):
        load_arrays(tmp_path)


def lying_header() -> bytes:
    """Give an .npy that promises more numbers than any memory holds."""
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (1 << 60, 3, 4)}
    np.lib.format.write_array_header_1_0(buffer, header)  # type: ignore[arg-type]
    return buffer.getvalue() + bytes(100)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_lying_headers_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as out:
        out.writestr("images.npy", lying_header())
        out.writestr("labels.npy", lying_header())
    with pytest.raises(DataError, match="images: cannot be read"):
        load_arrays(tmp_path / "set.npz")
    (tmp_path / "images.npy").write_bytes(lying_header())
    np.save(tmp_path / "labels.npy", LABELS)
    with pytest.raises(DataError, match="images: cannot be read"):
        load_arrays(tmp_path)


@pytest.mark.parametrize("write", WRITERS)
def test_cut_files_are_refused(tmp_path: Path, write: object) -> None:
    path = write(tmp_path, images=IMAGES, labels=LABELS)  # type: ignore[operator]
    path = path / "images.npy" if path.is_dir() else path
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="cannot be read"):
            walked(tmp_path if path.suffix == ".npy" else path)


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_damage_gives_arrays_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, place: float, value: int
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    for write in (packed, stored):
        path = write(folder, images=IMAGES[:4], labels=LABELS[:4])
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] = value
        path.write_bytes(data)
        try:
            walked(path)
        except (DataError, LabelError, ShapeError):
            continue


def test_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load_arrays(tmp_path / "absent.npz")
    (tmp_path / "x.mat").write_bytes(b"x")
    with pytest.raises(DataError, match=r"expected \.npz, \.npy, \.h5"):
        load_arrays(tmp_path / "x.mat")
    (tmp_path / "x.h5").write_bytes(b"x")
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        load_arrays(tmp_path / "x.h5")
    (tmp_path / "y.h5").mkdir()
    with pytest.raises(DataError, match="there are none"):
        load_arrays(tmp_path / "y.h5")


def test_hdf5_links_to_other_files_are_refused(tmp_path: Path) -> None:
    secret = stored(tmp_path, images=IMAGES, labels=LABELS).rename(tmp_path / "secret.h5")
    links = {
        "outside": h5py.ExternalLink(str(secret), "/images"),
        "soft": h5py.SoftLink("/hidden"),
    }
    for name, link in links.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["labels"] = LABELS
            file["images"] = link
            file["hidden"] = h5py.ExternalLink(str(secret), "/images")
        with pytest.raises(DataError, match="images: a link, which may lead to other files"):
            load_arrays(tmp_path / f"{name}.h5")
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file["train"] = h5py.ExternalLink(str(secret), "/")
    with pytest.raises(DataError, match="there are train"):
        load_arrays(tmp_path / "group.h5")
    raw = tmp_path / "raw.bin"
    raw.write_bytes(IMAGES.tobytes())
    with h5py.File(tmp_path / "stored.h5", "w") as file:
        file["labels"] = LABELS
        file.create_dataset("images", IMAGES.shape, "u1", external=[(str(raw), 0, IMAGES.nbytes)])
    with pytest.raises(DataError, match="images: its values are in other files"):
        load_arrays(tmp_path / "stored.h5")
    layout = h5py.VirtualLayout(IMAGES.shape, "u1")
    layout[:] = h5py.VirtualSource(str(secret), "images", IMAGES.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file["labels"] = LABELS
        file.create_virtual_dataset("images", layout)
    with pytest.raises(DataError, match="images: its values are in other files"):
        load_arrays(tmp_path / "virtual.h5")


def test_hdf5_is_read_by_threads_and_copies(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (60, 1, 16, 17)).astype(np.uint8)
    data = load_arrays(stored(tmp_path, x_train=images, y_train=np.zeros(60, int),
                              x_test=images[:1], y_test=[0]))  # fmt: skip
    assert isinstance(data.train, Hdf5Dataset)
    order = rng.randint(0, 60, 600)
    with ThreadPoolExecutor(8) as pool:
        for number, found in zip(order, pool.map(data.train.image, order), strict=True):
            np.testing.assert_array_equal(found, images[number])
    copy = pickle.loads(pickle.dumps(data.train))
    np.testing.assert_array_equal(copy[7][0], images[7])
    assert copy.describe(7).endswith("set.h5, x_train, image 7")


def test_hdf5_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, images=IMAGES, labels=LABELS)

    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("chainrule.data.hdf5.importlib.import_module", absent)
    with pytest.raises(DataError, match=r"pip install chainrule\[hdf5\]"):
        load_arrays(path)


@given(
    shape=st.lists(st.integers(1, 5), min_size=3, max_size=4),
    layout=st.sampled_from([None, "NCHW", "NHWC"]),
)
def test_the_form_is_certain_or_asked_for(shape: list[int], layout: str | None) -> None:
    one = [axis in (1, 3) for axis in shape]
    if len(shape) == 4 and layout is None and one[1] == one[3]:
        with pytest.raises(DataError, match="cannot tell"):
            form_of(shape, "u1", "x", layout, None)
        return
    found = form_of(shape, "u1", "x", layout, None)  # type: ignore[arg-type]
    if len(shape) == 3:
        assert found.axes == "NHW"
    else:
        assert found.axes == (layout or ("NCHW" if one[1] else "NHWC"))
