from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chainrule.data import DataLoader, ImageFolder, load_folder
from chainrule.data.picture_dataset import PictureDataset
from chainrule.errors import DataError
from tests.data.places import shared_data


def draw(path: Path, level: int = 0, mode: str = "L") -> Path:
    """Write a small picture whose first pixel tells which one it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = level if mode == "L" else (level, 0, 9)
    Image.new(mode, (4, 3), colour).save(path)
    return path


def build(root: Path, names: Iterable[str], mode: str = "L") -> Path:
    for level, name in enumerate(names):
        draw(root / name, level, mode)
    return root


def test_attributes_are_those_of_torchvision(tmp_path: Path) -> None:
    build(tmp_path, ["dog/b.png", "cat/2.png", "cat/10.PNG", "dog/deep/er/a.png"])
    data = ImageFolder(tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.class_to_idx == {"cat": 0, "dog": 1}
    names = [Path(path).relative_to(tmp_path).as_posix() for path, _ in data.samples]
    assert names == ["cat/10.PNG", "cat/2.png", "dog/b.png", "dog/deep/er/a.png"]
    assert [label for _, label in data.samples] == data.targets.tolist() == [0, 0, 1, 1]
    assert [int(image[0, 0, 0]) for image, _ in data] == [2, 1, 0, 3]
    assert data.describe(2) == str(tmp_path / "dog" / "b.png")
    assert data.notes == ()
    assert data[0][0].shape == (1, 3, 4)
    assert data.name == tmp_path.name


def test_litter_is_left_out_and_counted(tmp_path: Path) -> None:
    build(tmp_path, ["cat/1.png", "dog/1.png", ".hidden/1.png", "__MACOSX/cat/1.png"])
    for name in ("cat/.DS_Store", "cat/._1.png", "dog/Thumbs.db", "dog/notes.txt", "readme.md"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "dog" / "desktop.ini").write_bytes(b"x")
    build(tmp_path, ["cat/.ipynb_checkpoints/1.png"])
    (tmp_path / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    data = ImageFolder(tmp_path)
    assert len(data) == 2
    assert data.notes == (
        f"{tmp_path}: left out 1 item beside the folders of the classes",
        f"{tmp_path}: left out 7 items hidden or left by a system",
        f"{tmp_path}: left out 1 item no regular files, or links that lead nowhere",
        f"{tmp_path}: left out 1 item of other endings",
    )


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    root = build(tmp_path / "root", ["cat/1.png", "dog/1.png"])
    build(tmp_path / "elsewhere", ["2.png", "deep/3.png"])
    (root / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "again").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "round").symlink_to(root / "cat")
    (root / "cat" / "up").symlink_to(root)
    (root / "dog" / "self").symlink_to(root / "dog" / "self")
    (root / "bird").symlink_to(tmp_path / "elsewhere")
    data = ImageFolder(root)
    names = [os.path.relpath(path, root) for path, _ in data.samples]
    assert names[:2] == ["bird/2.png", "bird/deep/3.png"]
    assert "cat/again/2.png" in names
    assert "cat/more/2.png" not in names  # entered once, by its first name
    assert len([name for name in names if name.startswith("cat/up")]) == 1  # the dog, once
    assert any("in circles" in note for note in data.notes)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], r"no subfolders; expected a folder for each class .*/CLASS/PICTURE"),
        (["1.png", "2.png"], "no subfolders; expected a folder for each class"),
        (["cat/1.png", "dog/"], r"dog: no pictures in this class \(files that end in \.bmp"),
        (["cat/1.png", "dog/x.pdf"], "dog: no pictures in this class"),
        (["train/cat/1.png", "test/cat/1.png"], r"parts \(test, train\) and not classes"),
        (["train/cat/1.png"], r"or one part as ImageFolder\('.*train'\)"),
    ],
)
def test_other_layouts_are_named(tmp_path: Path, names: list[str], text: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        elif name.endswith("png"):
            draw(tmp_path / name)
        else:
            (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=text):
        ImageFolder(tmp_path)


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        ImageFolder(tmp_path / "absent")
    with pytest.raises(DataError, match="not a folder"):
        ImageFolder(draw(tmp_path / "x.png"))
    with pytest.raises(DataError, match="'L', 'RGB' or None as mode"):
        ImageFolder(build(tmp_path, ["cat/1.png"]), mode="CMYK")  # type: ignore[arg-type]


def test_channels_are_decided_once(tmp_path: Path) -> None:
    build(tmp_path, ["cat/1.png", "dog/1.png"])
    assert ImageFolder(tmp_path).mode == "L"
    draw(tmp_path / "dog" / "2.png", 5, "RGB")
    data = ImageFolder(tmp_path)
    assert data.mode == "RGB"
    assert {image.shape for image, _ in data} == {(3, 3, 4)}
    grey = ImageFolder(tmp_path, mode="L")
    assert {image.shape for image, _ in grey} == {(1, 3, 4)}
    (images, _), *_ = DataLoader(data, 3)
    assert images.shape == (3, 3, 3, 4)


def test_depth_is_one(tmp_path: Path) -> None:
    build(tmp_path, ["a/1.png"])
    Image.fromarray(np.full((3, 4), 999, np.uint16)).save(tmp_path / "a" / "2.png")
    with pytest.raises(DataError, match=r"one depth, found uint8 in .*1\.png and uint16 in .*2"):
        ImageFolder(tmp_path)
    (tmp_path / "a" / "1.png").unlink()
    data = ImageFolder(tmp_path)
    assert (data.white, data[0][0].dtype) == (65535.0, np.uint16)
    draw(tmp_path / "a" / "2.png")
    with pytest.raises(DataError, match=r"2\.png: expected pixels of type uint16"):
        data[0]


def test_a_bad_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    build(tmp_path, ["a/1.png", "a/2.png"])
    (tmp_path / "a" / "2.png").write_bytes(b"no picture")
    data = ImageFolder(tmp_path)
    assert data[0][0].shape == (1, 3, 4)
    with pytest.raises(DataError, match=r"a/2\.png: not a picture"):
        data[1]
    (tmp_path / "a" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a/1\.png: not a picture but an empty file"):
        ImageFolder(tmp_path)


def test_names_of_any_script_and_of_none(tmp_path: Path) -> None:
    build(tmp_path, ["ねこ/写真 1.png", "собака/a|b;c,d.png"])
    data = ImageFolder(tmp_path)
    assert data.classes == ("собака", "ねこ")
    assert data[1][0].shape == (1, 3, 4)
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(DataError, match=r"\\xff: a class whose name is no UTF-8"):
        ImageFolder(tmp_path)


def test_a_file_whose_name_is_no_text_is_read(tmp_path: Path) -> None:
    path = draw(tmp_path / "a" / "1.png")
    try:
        os.rename(path, os.fsencode(tmp_path) + b"/a/\xff.png")
    except OSError:
        pytest.skip("this file system takes no such name")
    data = ImageFolder(tmp_path)
    assert data.describe(0).endswith(r"a/\xff.png")
    data.describe(0).encode("utf-8")
    assert data[0][0].shape == (1, 3, 4)


def test_a_copy_by_pickle_reads_the_same(tmp_path: Path) -> None:
    data = ImageFolder(build(tmp_path, ["a/1.png", "b/2.png"]))
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy[1][0], data[1][0])


def paths_of(part: object) -> list[str]:
    return [Path(part.describe(k)).as_posix() for k in range(len(part))]  # type: ignore[attr-defined,arg-type]


def test_a_folder_is_split_by_class_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, [f"{kind}/{k}.png" for kind in "abc" for k in range(20)])
    data = load_folder(tmp_path, test=0.2, validation=0.1)
    assert data.validation is not None
    parts = (data.train, data.validation, data.test)
    whole = ImageFolder(tmp_path)
    assert [np.bincount(part.targets).tolist() for part in parts] == [[14] * 3, [2] * 3, [4] * 3]
    assert sorted(chain(*map(paths_of, parts))) == sorted(p for p, _ in whole.samples)
    assert (data.white, data.classes, data.notes) == (255.0, ("a", "b", "c"), ())

    listing = os.scandir

    class Shuffled:
        def __init__(self, path: object) -> None:
            with listing(path) as entries:
                self.entries = random.sample(found := list(entries), len(found))

        def __enter__(self) -> Iterable[object]:
            return iter(self.entries)

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Shuffled)
    again = load_folder(tmp_path, test=0.2, validation=0.1)
    assert paths_of(again.test) == paths_of(data.test)
    assert paths_of(again.train) == paths_of(data.train)
    other = load_folder(tmp_path, test=0.2, validation=0.1, seed=1)
    assert paths_of(other.test) != paths_of(data.test)


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_parts_are_taken_as_they_are(tmp_path: Path, val: str) -> None:
    names = [f"train/{kind}/{k}.png" for kind in "ab" for k in range(3)]
    build(tmp_path, [*names, f"{val}/a/1.png", f"{val}/b/1.png", "test/a/1.png", "test/b/1.png"])
    (tmp_path / "annotations").mkdir()
    data = load_folder(tmp_path, test=0.5, validation=0.5)
    assert data.validation is not None
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 2, 2]
    assert data.notes == (f"{tmp_path}: left out the folders annotations",)
    assert data.name == tmp_path.name


def test_without_a_test_part_validation_is_measured_on(tmp_path: Path) -> None:
    build(tmp_path, [f"train/{kind}/{k}.png" for kind in "ab" for k in range(4)])
    build(tmp_path, ["val/a/1.png", "val/b/1.png"])
    data = load_folder(tmp_path)
    assert (len(data.train), data.validation, len(data.test)) == (8, None, 2)
    assert data.notes == ("there is no test part: the validation part is measured on",)
    cut = load_folder(tmp_path, validation=0.25)
    assert cut.validation is not None
    assert [len(part) for part in (cut.train, cut.validation, cut.test)] == [6, 2, 2]


def test_train_alone_is_split(tmp_path: Path) -> None:
    build(tmp_path, [f"train/{kind}/{k}.png" for kind in "ab" for k in range(5)])
    data = load_folder(tmp_path)
    assert (len(data.train), len(data.test), data.classes) == (8, 2, ("a", "b"))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    build(tmp_path, [f"{kind}/{k}.png" for kind in ("bus", "train") for k in range(5)])
    assert load_folder(tmp_path).classes == ("bus", "train")
    assert ImageFolder(tmp_path).classes == ("bus", "train")


def test_parts_agree_on_channels_and_classes(tmp_path: Path) -> None:
    build(tmp_path, ["train/a/1.png", "train/b/1.png", "test/a/1.png"])
    with pytest.raises(DataError, match=r"test: expected the classes of .*train.* without b"):
        load_folder(tmp_path)
    draw(tmp_path / "test" / "b" / "1.png", 3, "RGB")
    data = load_folder(tmp_path)
    assert data.train[0][0].shape == data.test[0][0].shape == (3, 3, 4)
    build(tmp_path, ["test/c/1.png"])
    with pytest.raises(DataError, match="and with c"):
        load_folder(tmp_path)


def test_parts_that_are_no_set_are_refused(tmp_path: Path) -> None:
    for names in (["test/a/1.png", "val/a/1.png"], ["test/a/1.png"]):
        build(tmp_path / str(len(names)), names)
        with pytest.raises(DataError, match=r"expected train/ beside the other parts"):
            load_folder(tmp_path / str(len(names)))
        with pytest.raises(DataError, match=r"parts \(test.* and not classes"):
            ImageFolder(tmp_path / str(len(names)))
    build(tmp_path / "y", ["train/a/1.png", "val/a/1.png", "valid/a/1.png"])
    with pytest.raises(DataError, match="both val/ and valid/ are there"):
        load_folder(tmp_path / "y")


@pytest.mark.parametrize(
    ("settings_", "text"),
    [
        ({"test": 0.0}, "images to measure on"),
        ({"test": 1.0}, "leave something to train on"),
        ({"test": -0.1}, "leave something to train on"),
        ({"test": 0.5, "validation": 0.5}, "leave something to train on"),
    ],
)
def test_fractions_that_leave_nothing(
    tmp_path: Path, settings_: dict[str, float], text: str
) -> None:
    build(tmp_path, [f"a/{k}.png" for k in range(10)])
    with pytest.raises(DataError, match=text):
        load_folder(tmp_path, **settings_)


def test_one_picture_is_too_few_to_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2 images"):
        load_folder(build(tmp_path, ["a/1.png"]))


@settings(max_examples=25)
@given(st.data())
def test_any_tree_of_pictures_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folders = st.lists(st.sampled_from(["x", "y y", "Z"]), max_size=2).map("/".join)
    files = st.tuples(st.sampled_from(["one", "two"]), folders, st.sampled_from("abc"))
    chosen = data.draw(st.sets(files, min_size=1, max_size=12))
    root = tmp_path_factory.mktemp("tree")
    names = [
        f"{kind}/{deep}/{name}.png" if deep else f"{kind}/{name}.png" for kind, deep, name in chosen
    ]
    found = ImageFolder(build(root, names))
    assert sorted(os.path.relpath(path, root) for path, _ in found.samples) == sorted(names)
    for number, (path, label) in enumerate(found.samples):
        assert os.path.relpath(path, root).split(os.sep)[0] == found.classes[label]
        assert found[number][0][0, 0, 0] == names.index(os.path.relpath(path, root))


def test_the_base_names_its_missing_method() -> None:
    class Nowhere(PictureDataset):
        pass

    with pytest.raises(NotImplementedError, match=r"Nowhere\.source"):
        Nowhere([0], ["a"])


def test_medical_mnist() -> None:
    folder = shared_data("medical-mnist")
    data = load_folder(folder, test=0.2)
    assert data.classes == ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
    assert np.bincount(data.train.targets).tolist() == [200] * 6
    assert np.bincount(data.test.targets).tolist() == [50] * 6
    assert data.train[0][0].shape == (1, 64, 64)
    assert data.notes == ()
