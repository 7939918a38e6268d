from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chainrule.data import ManifestDataset, load_manifest
from chainrule.data.tables import read_table
from chainrule.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with 0.png to 9.png, whose pixels are their numbers, and "é, 1.png"."""
    (tmp_path / "in").mkdir()
    for number in range(10):
        Image.new("L", (2, 2), number).save(tmp_path / "in" / f"{number}.png")
    Image.new("L", (2, 2), 77).save(tmp_path / "é, 1.png")
    return tmp_path


def table(folder: Path, text: str | bytes, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


def rows(header: str, *values: str, n: int = 10) -> str:
    """Write a row for each picture, with the values in turn."""
    lines = [f"in/{k}.png,{values[k % len(values)]}" for k in range(n)]
    return "\n".join([header, *lines, ""])


def test_one_label_a_picture(folder: Path) -> None:
    data = load_manifest(table(folder, rows("path,label", "cat", "ant")))
    assert (data.task, data.classes, data.white) == ("classification", ("ant", "cat"), 255.0)
    assert (len(data.train), len(data.test), data.validation) == (8, 2, None)
    whole = ManifestDataset(folder / "m.csv")
    assert whole.targets.tolist() == [1, 0] * 5
    assert [int(image.max()) for image, _ in whole] == list(range(10))
    assert whole.describe(3) == f"{folder / 'in' / '3.png'} (m.csv, line 5)"
    cut = load_manifest(folder / "m.csv", validation=0.2)
    assert cut.validation is not None
    assert len(cut.validation) == 2


def test_whole_numbers_are_in_their_order(folder: Path) -> None:
    whole = ManifestDataset(table(folder, rows("path,label", "10", "9", n=4)))
    assert whole.classes == ("9", "10")
    named = ManifestDataset(table(folder, rows("path,label", "10", "9", "x", n=4)))
    assert named.classes == ("10", "9", "x")


@pytest.mark.parametrize("mark", ["|", ";"])
def test_several_labels_a_picture(folder: Path, mark: str) -> None:
    text = rows("path,labels", f"sun{mark}sea", "sea", "", f" sun {mark}{mark}", n=4)
    data = ManifestDataset(table(folder, text))
    assert (data.task, data.classes) == ("multilabel", ("sea", "sun"))
    assert data.targets.tolist() == [[1, 1], [1, 0], [0, 0], [0, 1]]


def test_columns_of_labels_and_of_numbers(folder: Path) -> None:
    binary = ManifestDataset(table(folder, rows("path,sea,sun", "0,1", "1,1", n=4)))
    assert (binary.task, binary.classes) == ("multilabel", ("sea", "sun"))
    assert binary.targets.tolist() == [[0, 1], [1, 1]] * 2
    numbers = ManifestDataset(table(folder, rows("path,x,y", "0.5,-1e3", n=2)))
    assert (numbers.task, numbers.classes) == ("regression", ("x", "y"))
    assert numbers.targets.tolist() == [[0.5, -1000.0]] * 2
    one = ManifestDataset(folder / "m.csv", label_columns="y")
    assert one.targets.tolist() == [[-1000.0]] * 2
    as_numbers = ManifestDataset(
        table(folder, rows("path,label", "1", "0", n=4)), label_columns="label", task="regression"
    )
    assert (as_numbers.task, as_numbers.targets.tolist()) == ("regression", [[1.0], [0.0]] * 2)
    as_classes = ManifestDataset(
        table(folder, rows("path,grade", "1", "0", n=4)),
        label_columns="grade",
        task="classification",
    )
    assert (as_classes.task, as_classes.targets.tolist()) == ("classification", [1, 0] * 2)
    words = ManifestDataset(table(folder, rows("path,kind", "b", "a", n=4)))
    assert (words.task, words.classes) == ("classification", ("a", "b"))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_forms_of_csv(folder: Path, ending: str, mark: bytes, separator: str) -> None:
    lines = [["path", "label"], ["in/1.png", "кот"], [], ['"é, 1.png"', '"a ""b"""']]
    text = ending.join(separator.join(line) for line in lines)
    whole = ManifestDataset(table(folder, mark + text.encode("utf-8")))
    assert [int(image.max()) for image, _ in whole] == [1, 77]
    assert whole.classes == ('a "b"', "кот")
    assert whole.lines == [2, 4]


def test_json_lines(folder: Path) -> None:
    lines = [
        {"path": "in/1.png", "label": 3, "split": "train"},
        {"path": str(folder / "in" / "2.png"), "label": "x", "split": "test", "more": [1]},
    ]
    text = "\n\n".join(map(json.dumps, lines)) + "\r\n"
    data = load_manifest(table(folder, text, "m.jsonl"))
    assert data.classes == ("3", "x")
    assert data.notes == ("no training image of x, which the test part has",)
    assert data.test.describe(0).endswith("2.png (m.jsonl, line 3)")
    several = [{"path": "in/1.png", "labels": ["b", "a"]}, {"path": "in/2.png", "labels": []}]
    found = ManifestDataset(table(folder, "\n".join(map(json.dumps, several)), "m.ndjson"))
    assert found.targets.tolist() == [[1, 1], [0, 0]]
    numbers = [{"path": f"in/{k}.png", "x": k / 2} for k in range(3)]
    found = ManifestDataset(table(folder, "\n".join(map(json.dumps, numbers)), "m.txt"))
    assert found.targets.tolist() == [[0.0], [0.5], [1.0]]


def test_the_split_of_the_table_is_kept(folder: Path) -> None:
    text = rows("path,label,split", "a,train", "b,train", "a,val", "b,TEST", "a,valid")
    data = load_manifest(table(folder, text), validation=0.3)
    assert data.validation is not None
    assert [len(part) for part in (data.train, data.validation, data.test)] == [4, 4, 2]
    assert data.classes == data.test.classes == ("a", "b")
    measured = load_manifest(table(folder, rows("path,label,split", "a,train", "a,val")))
    assert measured.validation is None
    assert measured.notes == ("there is no test part: the validation part is measured on",)
    alone = load_manifest(table(folder, rows("path,label,split", "a,train")), test=0.3)
    assert len(alone.test) == 3


def test_groups_stay_together(folder: Path) -> None:
    lines = [f"in/{k}.png,{'ab'[k % 2]},{['p', 'q', 'r', '', ''][k // 2]}" for k in range(10)]
    text = "\n".join(["file,kind,patient", *lines])
    names = {"path_column": "file", "label_columns": "kind", "group_column": "patient"}
    data = load_manifest(table(folder, text), test=0.4, **names)  # type: ignore[arg-type]
    whole = ManifestDataset(folder / "m.csv", **names)  # type: ignore[arg-type]
    assert whole.groups is not None
    test = set(data.test.indices.tolist())  # type: ignore[attr-defined]
    for group in "pqr":
        members = {k for k, name in enumerate(whole.groups) if name == group}
        assert members <= test or not members & test
    assert len(test) == 4


def test_a_group_in_two_parts_is_refused(folder: Path) -> None:
    text = rows("path,label,group,split", "a,p,train", "a,q,test", "a,,train", "a,,test", n=4)
    assert len(load_manifest(table(folder, text)).test) == 2
    text = rows("path,label,group,split", "a,p,train", "a,q,train", "a,p,test", n=3)
    with pytest.raises(DataError, match=r"line 4: the group 'p' is in test and on line 2 in train"):
        load_manifest(table(folder, text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "an empty file"),
        ("\ufeff\n \n", "an empty file"),
        ("path,label\n", "no rows under the names"),
        ("in/1.png,cat\n", "no rows"),
        ("file,label\nin/1.png,a\n", "expected a column 'path', found 'file', 'label'"),
        ("path\nin/1.png\n", "expected a column 'label', 'labels', or columns of numbers"),
        ("path,label,path\nin/1.png,a,b\n", "line 1: the column 'path' is named twice"),
        ("path,label\nin/1.png\n", "line 2: expected 2 fields, one for each column, found 1"),
        ("path,label\n\nin/1.png,a,b\n", "line 3: expected 2 fields"),
        ('path,label\n"in/1.png,a\n', "line 2: broken CSV"),
        ('path,label\n"in/1.png"x,a\n', "line 2: broken CSV"),
        ("path,label\nin/1.png,\n", "line 2, column 'label': expected a label, found none"),
        ("path,label\n ,a\n", "line 2, column 'path': expected the path of a picture"),
        ("path,label\nin/1.png,a\nin/x.png,a\n", r"line 3, column 'path': no such file: .*x\.png"),
        ("path,label\nin,a\n", "line 2, column 'path': no regular file"),
        ("path,label\n.,a\n", "line 2, column 'path': no regular file"),
        ("path,label\nin/\0.png,a\n", "line 2, column 'path': expected the path"),
        (
            "path,label\nin/1.png,a\nin/2.png,a\nin/../in/1.png,b\n",
            r"line 4, column 'path': 'in/\.\./in/1\.png' is named on line 2 already",
        ),
        ("path,x,y\nin/1.png,1,2\nin/2.png,1,two\n", "line 3, column 'y': expected a number"),
        ("path,x,y\nin/1.png,1,\n", "line 2, column 'y': expected a number, found ''"),
        ("path,x,y\nin/1.png,nan,0\n", "line 2, column 'x': expected a number, found 'nan'"),
        ("path,x,y\nin/1.png,1e39,0\n", "line 2, column 'x': expected a number"),
        (
            "path,x\nin/1.png,n/a\nin/2.png,3\n",
            "line 2, column 'x': expected a number, found 'n/a'",
        ),
        ("path,labels\nin/1.png,\n", "column 'labels': expected labels, found none at all"),
        ("path,label,split\nin/1.png,a,dev\n", "line 2, column 'split': expected train, val or"),
        ("path,label,split\nin/1.png,a,\n", "line 2, column 'split': expected train, val or"),
        ("path,label,split\nin/1.png,a,test\n", "expected training images, found none"),
        ('{"path": "in/1.png", "label": "a"}\n{"path"', "line 2: broken JSON"),
        ('{"path": "in/1.png", "label": "a"}\n[1]', "line 2: expected a JSON object"),
        ('{"path": "in/1.png", "label": null}', "line 1, column 'label': expected a label"),
        ('{"path": "in/1.png", "label": {"a": 1}}', "line 1, column 'label': expected a text"),
        ('{"path": "in/1.png", "labels": [[1]]}', "line 1, column 'labels': expected labels as"),
        ('{"path": "in/1.png", "x": NaN}', "line 1, column 'x': expected a number"),
        ('{"path": "in/1.png", "x": %s}' % ("9" * 400), "line 1, column 'x': expected a number"),
        ('{"path": 7, "label": "a"}', "line 1, column 'path': no such file"),
    ],
)
def test_wrong_tables_are_named_by_line(folder: Path, text: str, expected: str) -> None:
    path = table(folder, text)
    with pytest.raises(DataError, match=expected) as caught:
        load_manifest(path)
    assert str(path) in str(caught.value) or "m: expected training" in str(caught.value)


def test_text_that_is_no_utf8_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: expected UTF-8, found the byte 0xe9"):
        load_manifest(table(folder, b"path,label\nin/1.png,\xe9\n"))
    with pytest.raises(DataError, match="line 1: expected UTF-8"):
        load_manifest(table(folder, "path,label\n".encode("utf-16")))
    with pytest.raises(DataError, match="no such file"):
        load_manifest(folder / "absent.csv")
    with pytest.raises(DataError, match="not a regular file"):
        load_manifest(folder)


def test_task_and_columns_must_agree(folder: Path) -> None:
    path = table(folder, rows("path,x,y", "0,1", "0,2", n=4))
    with pytest.raises(DataError, match="one column of classes"):
        ManifestDataset(path, label_columns=["x", "y"], task="classification")
    with pytest.raises(DataError, match="line 3, column 'y': expected 0 or 1, found 2"):
        ManifestDataset(path, task="multilabel")
    with pytest.raises(DataError, match="expected a column 'z'"):
        ManifestDataset(path, label_columns="z")


def test_a_bad_picture_is_named_with_its_line(folder: Path) -> None:
    (folder / "in" / "3.png").write_bytes(b"no picture")
    whole = ManifestDataset(table(folder, rows("path,label", "a", "b")))
    with pytest.raises(DataError, match=r"3\.png \(m\.csv, line 5\): not a picture"):
        whole[3]


FIELD = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=12
).map(str.strip)


@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=8))
def test_any_text_comes_through_csv(
    tmp_path_factory: pytest.TempPathFactory, fields: list[tuple[str, str]]
) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    path = tmp_path_factory.mktemp("csv") / "any.csv"
    lines = ["a,b", *(f"{quoted(a)},{quoted(b)}" for a, b in fields)]
    path.write_text("\n".join(lines), "utf-8", newline="")
    found = read_table(path)
    assert found.columns == ("a", "b")
    assert [tuple(row.values.values()) for row in found.rows] == fields
    assert [row.line for row in found.rows] == list(range(2, len(fields) + 2))


@given(st.binary(max_size=80))
def test_any_bytes_give_a_table_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "any.csv"
    for start in (b"", b"path,label\n", b'{"path": '):
        path.write_bytes(start + data)
        try:
            found = read_table(path)
        except DataError:
            continue
        assert found.rows


def test_a_row_over_several_lines_is_named_by_its_first(folder: Path) -> None:
    text = 'path,label,note\nin/1.png,a,"two\nlines"\nin/x.png,a,b\n'
    with pytest.raises(DataError, match="line 4, column 'path'"):
        ManifestDataset(table(folder, text))


def test_split_is_by_label_and_fixed(folder: Path) -> None:
    text = rows("path,labels", "a|b", "b", "a", "")
    first, second = (load_manifest(table(folder, text), test=0.4) for _ in range(2))
    np.testing.assert_array_equal(first.test.indices, second.test.indices)  # type: ignore[attr-defined]
    assert first.task == "multilabel"
    assert first.test.targets.sum(axis=0).min() > 0
