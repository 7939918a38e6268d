"""Downloads, from a server on this machine that does all that servers should not."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.data import download
from chainrule.data import partial as parts
from chainrule.errors import DataError, ShapeError
from tests.data.server import Answer, Server, chunked, hangs_up, other, serving, status, whole


@pytest.fixture(autouse=True)
def _stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no request leave the machine, not even to a proxy."""
    monkeypatch.setenv("no_proxy", "*")
    connect = socket.create_connection

    def checked(address: tuple[str, int], *args: Any, **options: Any) -> socket.socket:
        assert address[0] in ("127.0.0.1", "localhost"), f"a request to {address[0]}"
        return connect(address, *args, **options)

    monkeypatch.setattr(socket, "create_connection", checked)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def get(server: Server, path: Path, **options: Any) -> Path:
    """Download what is right, without pauses."""
    wanted = {"md5": server.md5, "size": len(server.content), "pause": 0.0, **options}
    return download(wanted.pop("url", server.url), path, **wanted)


def refused(server: Server, path: Path, *words: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        get(server, path, **options)
    for word in words:
        assert word in str(caught.value)
    assert not path.exists()
    return str(caught.value)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


CHECKS = [
    {},
    {"md5": None},
    {"size": None},
    {"md5": None, "size": None},
]


@pytest.mark.parametrize("checks", CHECKS)
def test_a_file_comes_whole_and_is_told_of(
    server: Server, tmp_path: Path, checks: dict[str, Any]
) -> None:
    told: list[tuple[str, int, int | None]] = []
    path = tmp_path / "new" / "file.bin"
    found = get(server, path, progress=lambda *facts: told.append(facts), **checks)
    assert found == path
    assert path.read_bytes() == server.content
    assert files(path.parent) == ["file.bin"]
    total = len(server.content)
    assert told[0] == ("file.bin", 0, total)
    assert told[-1] == ("file.bin", total, total)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_what_is_there_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(server.content)
    for checks in CHECKS:
        assert get(server, path, **checks) == path
    assert server.asked == []


def test_another_file_is_not_replaced(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"my own")
    mine = hashlib.md5(b"my own").hexdigest()
    with pytest.raises(DataError, match=r"another file is there: expected MD5 .*76,807.*found 6 b"):
        get(server, path)
    with pytest.raises(DataError, match=f"expected MD5 {server.md5}, found MD5 {mine}, 6 bytes"):
        get(server, path, size=None)
    assert path.read_bytes() == b"my own"
    assert server.asked == []
    with pytest.raises(DataError, match="something else"):
        get(server, tmp_path)


@pytest.mark.parametrize("checks", CHECKS)
@pytest.mark.parametrize("tag", [{}, {"ETag": '"v1"'}, {"Last_Modified": "Mon, 01 Jan 2024"}])
def test_it_goes_on_where_the_connection_ended(
    server: Server, tmp_path: Path, checks: dict[str, Any], tag: dict[str, str]
) -> None:
    server.plan = [whole(cut=1000, **tag), hangs_up, whole(cut=2000, **tag), whole(**tag)]
    get(server, tmp_path / "file.bin", **checks)
    assert (tmp_path / "file.bin").read_bytes() == server.content
    assert files(tmp_path) == ["file.bin"]
    proven = checks.get("md5", "") is not None or tag
    assert server.begins == ([None, 1000, 1000, 3000] if proven else [None] * 4)
    assert {asked.condition for asked in server.asked[1:]} == ({*tag.values()} or {None})


def test_a_weak_tag_is_no_condition(server: Server, tmp_path: Path) -> None:
    server.plan = [whole(cut=1000, ETag='W/"v1"'), whole()]
    get(server, tmp_path / "file.bin", md5=None)
    assert server.begins == [None, None]


def test_many_cuts_are_survived_while_bytes_come(server: Server, tmp_path: Path) -> None:
    server.plan = [*[whole(cut=7000)] * 10, whole()]
    get(server, tmp_path / "file.bin", attempts=2)
    assert server.begins == [None, *range(7000, 77000, 7000)]


def test_the_part_waits_for_the_next_call(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    server.plan = [whole(cut=5000), hangs_up]
    words = refused(server, path, "(4 tries in a row)", attempts=4)
    assert f"save {server.url} as {path}" in words
    assert "5,000 bytes are kept" in words
    assert server.begins == [None, 5000, 5000, 5000]
    assert files(tmp_path) == ["file.bin.part"]
    server.plan, server.asked = [whole()], []
    get(server, path)
    assert server.begins == [5000]
    assert path.read_bytes() == server.content
    assert files(tmp_path) == ["file.bin"]


def test_without_checksum_a_part_of_earlier_is_not_trusted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"of another version")
    get(server, tmp_path / "file.bin", md5=None)
    (tmp_path / "other.bin.part").write_bytes(bytes(len(server.content)))
    get(server, tmp_path / "other.bin", md5=None)
    assert server.begins == [None, None]
    for name in ("file.bin", "other.bin"):
        assert (tmp_path / name).read_bytes() == server.content


@pytest.mark.parametrize("length", [100, 76_807, 90_000])
def test_a_wrong_part_is_begun_anew(server: Server, tmp_path: Path, length: int) -> None:
    for checks in ({}, {"size": None}):
        path = tmp_path / f"{len(checks)}.bin"
        path.with_name(path.name + ".part").write_bytes(b"x" * length)
        get(server, path, **checks)
        assert path.read_bytes() == server.content
    assert None in server.begins


def test_a_whole_part_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    """A process died between the last byte and the rename."""
    for checks in ({}, {"size": None}):
        (tmp_path / "file.bin.part").write_bytes(server.content)
        get(server, tmp_path / "file.bin", **checks)
        (tmp_path / "file.bin").unlink()
    assert server.asked == []


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path) -> None:
    server.plan = [whole(ranges=False, cut=40_000), whole(ranges=False)]
    get(server, tmp_path / "file.bin")
    assert server.begins == [None, 40_000]
    assert (tmp_path / "file.bin").read_bytes() == server.content


def test_without_ranges_the_same_cut_again_and_again_is_given_up(
    server: Server, tmp_path: Path
) -> None:
    server.plan = [whole(ranges=False, cut=40_000)]
    refused(server, tmp_path / "file.bin", "ended after 40,000 of 76,807", attempts=3)
    assert len(server.asked) == 3


@pytest.mark.parametrize("shift", [-10, 10])
def test_another_range_than_was_asked_for(server: Server, tmp_path: Path, shift: int) -> None:
    wrong = whole(shift=shift)
    server.plan = [whole(cut=1000), wrong, whole(cut=2000), wrong]
    get(server, tmp_path / "file.bin")
    assert server.begins == [None, 1000, None, None]
    assert (tmp_path / "file.bin").read_bytes() == server.content


def test_a_new_version_between_two_halves(server: Server, tmp_path: Path) -> None:
    """What a server does that minds no condition: two halves of two files."""
    old = bytes(len(server.content))
    server.plan = [other(old, cut=30_000), whole(), whole()]  # type: ignore[arg-type]
    get(server, tmp_path / "file.bin")
    assert server.begins == [None, 30_000, None]
    assert (tmp_path / "file.bin").read_bytes() == server.content


def test_wrong_lengths(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    server.plan = [whole(length=80_000)]
    refused(server, path, "expected 76,807 bytes, found 80,000")
    server.plan = [whole(length=70_000)]
    refused(server, path, "expected 76,807 bytes, found 70,000")
    refused(server, path, f"expected MD5 {server.md5}", "found MD5", "70,000 bytes", size=None)
    server.plan = [other(server.content + b"more")]
    refused(server, path, "expected 76,807 bytes, found 76,811", md5=None)
    server.plan = [whole(length=None, cut=500)]  # closes; nobody said how long it is
    refused(server, path, "ended after", attempts=1)
    (tmp_path / "file.bin.part").unlink()
    server.plan = [whole(length=80_000)]
    refused(server, path, "ended after 76,807 of 80,000", size=None, md5=None, attempts=2)
    assert files(tmp_path) == []


def test_too_long_without_a_length(server: Server, tmp_path: Path) -> None:
    def very_long(handler: Any, content: bytes) -> None:
        handler.head(200, None)
        for _ in range(200):
            handler.wfile.write(content)

    server.plan = [very_long]
    words = refused(server, tmp_path / "file.bin", "expected MD5", "found")
    found = re.search(r"found ([\d,]+) bytes", words)
    assert found is not None
    assert int(found[1].replace(",", "")) < 200_000  # the rest was not waited for
    assert files(tmp_path) == []


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    wrong = b"?" + server.content[1:]
    server.plan = [other(wrong)]
    found = hashlib.md5(wrong).hexdigest()
    refused(server, tmp_path / "file.bin", f"expected MD5 {server.md5}", f"found MD5 {found}")
    assert files(tmp_path) == []
    assert len(server.asked) == 1


def test_the_next_address_is_tried(server: Server, tmp_path: Path) -> None:
    server.plan = [
        other(b"?" * len(server.content)),
        status(404),
        whole(cut=9),
        status(403),
        whole(),
    ]
    urls = [f"{server.base}{n}" for n in range(5)]
    get(server, tmp_path / "file.bin", url=urls, attempts=1)
    assert [asked.path for asked in server.asked] == ["/0", "/1", "/2", "/3", "/4"]
    assert server.begins == [None, None, None, 9, 9]
    assert (tmp_path / "file.bin").read_bytes() == server.content


def test_without_checksum_no_halves_of_two_addresses_are_joined(
    server: Server, tmp_path: Path
) -> None:
    server.plan = [whole(cut=9, ETag='"1"'), whole()]
    urls = [f"{server.base}{n}" for n in range(2)]
    get(server, tmp_path / "file.bin", url=urls, attempts=1, md5=None)
    assert server.begins == [None, None]


def test_answers_that_are_final_and_those_that_pass(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    for code in (400, 401, 403, 404, 410, 204):
        server.plan, server.asked = [status(code)], []
        refused(server, path, f"the server answered {code}")
        assert len(server.asked) == 1
    server.plan, server.asked = [status(500), status(503, Retry_After="0"), status(429)], []
    server.plan.append(whole())
    get(server, path)
    assert len(server.asked) == 4


def test_pauses_grow_and_obey_the_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    server.plan = [
        status(500),
        status(500),
        status(503, Retry_After="7"),
        status(503, Retry_After="99999"),
    ]
    refused(server, tmp_path / "file.bin", "503", pause=0.5)
    assert slept == [0.5, 1.0, 7.0, 60.0]


def test_a_trickle_is_waited_for_and_a_silence_is_not(server: Server, tmp_path: Path) -> None:
    told: list[int] = []
    server.plan = [whole(slow=0.02)]
    get(server, tmp_path / "a", timeout=5.0, progress=lambda _, done, __: told.append(done))
    assert len(told) > 5
    quiet = threading.Event()

    def silent(handler: Any, content: bytes) -> None:
        handler.head(200, len(content))
        handler.wfile.write(content[:1000])
        handler.wfile.flush()
        quiet.wait(20)

    server.plan, server.asked = [silent, whole()], []
    get(server, tmp_path / "b", timeout=0.2)
    quiet.set()
    assert server.begins == [None, 1000]
    assert (tmp_path / "b").read_bytes() == server.content


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirections(server: Server, tmp_path: Path, code: int) -> None:
    moved = status(code, Location="/elsewhere/file.bin")
    server.plan = [moved, whole(cut=1000), moved, whole()]
    get(server, tmp_path / "file.bin")
    assert server.begins == [None, None, 1000, 1000]
    assert server.asked[3].path == "/elsewhere/file.bin"


@pytest.mark.parametrize("place", ["file:///etc/hosts", "ftp://127.0.0.1/x", "data:,x"])
def test_redirections_elsewhere_are_refused(server: Server, tmp_path: Path, place: str) -> None:
    server.plan = [status(302, Location=place), whole()]
    words = refused(server, tmp_path / "file.bin", md5=None, size=None)
    assert "not allowed" in words or "unknown url type" in words
    assert files(tmp_path) == []
    assert len(server.asked) == 1


def test_redirections_in_a_circle(server: Server, tmp_path: Path) -> None:
    server.plan = [status(302, Location="/file.bin")]
    words = refused(server, tmp_path / "file.bin", "302", "infinite loop")
    assert "\n" not in words


def test_an_empty_answer_and_a_web_page(server: Server, tmp_path: Path) -> None:
    path, page = tmp_path / "file.bin", b"<!DOCTYPE html><p>Please log in"
    server.plan = [status(200)]
    refused(server, path, "an empty file came", md5=None, size=None)
    refused(server, path, "expected 76,807 bytes, found 0")
    server.plan = [status(200, page, Content_Type="text/html; charset=utf-8")]
    for checks in CHECKS:
        refused(server, path, "a web page came in its place", **checks)
    server.plan = [status(200, page)]  # which does not say what it is
    refused(server, path, "it begins like a web page", size=None)
    assert files(tmp_path) == []
    server.content = page
    server.plan = [status(200, page, Content_Type="text/html")]
    get(server, tmp_path / "page.html", url=f"{server.base}page.html")


def test_chunks(server: Server, tmp_path: Path) -> None:
    server.plan = [chunked(broken=True), whole()]
    get(server, tmp_path / "a")
    assert server.begins[1] is not None
    assert server.begins[1] >= 10_000
    server.plan, server.asked = [chunked(broken=True), chunked()], []
    get(server, tmp_path / "b", md5=None, size=None)
    assert (tmp_path / "b").read_bytes() == server.content


def test_offline(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    url, path = "https://data.invalid/file.bin", tmp_path / "file.bin"
    monkeypatch.setattr(socket, "create_connection", unknown)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits for a network"))
    words = refused(
        server, path, "its name was not found", "is there a network?", url=url, pause=60
    )
    assert f"to bring it by hand, save {url} as {path}" in words
    assert files(tmp_path) == []


def test_nobody_listens(server: Server, tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{busy.getsockname()[1]}/x"
        refused(server, tmp_path / "x", "the connection failed", "(3 tries", url=url, attempts=3)


@pytest.mark.parametrize(
    "url", ["http://", "http:///file", "http://127.0.0.1:port/x", "http://a b/"]
)
def test_addresses_that_are_none(server: Server, tmp_path: Path, url: str) -> None:
    refused(server, tmp_path / "file", "the address is of no use", url=url)


@pytest.mark.parametrize("url", ["file:///etc/hosts", "/etc/hosts", "ftp://x/y", "", []])
def test_other_schemes_are_refused(server: Server, tmp_path: Path, url: str) -> None:
    with pytest.raises(ShapeError, match="address"):
        get(server, tmp_path / "file", url=url)
    with pytest.raises(ShapeError, match="attempt"):
        get(server, tmp_path / "file", attempts=0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_of_nobody(server: Server, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    url = server.url.replace("http:", "https:")
    words = refused(server, tmp_path / "file", "its certificate was not accepted", url=url)
    assert "self" in words
    assert "clock" in words
    assert server.asked == []


def test_a_full_disk_leaves_nothing(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            get(server, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(path)
    assert files(tmp_path) == []
    get(server, path)


def test_ctrl_c_keeps_the_part(server: Server, tmp_path: Path) -> None:
    def interrupt(_: str, done: int, __: int | None) -> None:
        if done > 20_000:
            raise KeyboardInterrupt

    server.plan = [whole(slow=0.001)]
    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path / "file.bin", progress=interrupt)
    kept = (tmp_path / "file.bin.part").read_bytes()
    assert len(kept) > 20_000
    assert server.content.startswith(kept)
    get(server, tmp_path / "file.bin")
    assert server.begins == [None, len(kept)]


SCRIPT = """
import sys
from chainrule.data import download
download(sys.argv[1], sys.argv[2], sys.argv[3], progress=lambda *told: print(*told, flush=True))
"""


def start(server: Server, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, server.url, str(path), server.md5]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_a_part_to_go_on_with(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    server.plan = [whole(slow=0.2), whole()]
    process = start(server, path)
    assert process.stdout is not None
    while int(process.stdout.readline().split()[1]) < 20_000:
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert files(tmp_path) == ["file.bin.part"]
    get(server, path)
    assert server.begins[1] is not None
    assert server.begins[1] >= 20_000
    assert path.read_bytes() == server.content


def test_two_processes_want_the_same_file(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    server.plan = [whole(slow=0.1)]
    both = [start(server, path) for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    assert path.read_bytes() == server.content
    assert len(server.asked) == 1
    assert files(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("locks", [True, False])
def test_threads_want_the_same_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    monkeypatch.setattr(parts, "_LOCKS", locks)
    path, failed = tmp_path / "file.bin", []
    server.plan = [whole(cut=30_000, slow=0.01), whole(slow=0.005)]

    def run() -> None:
        try:
            get(server, path)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert path.read_bytes() == server.content
    assert files(tmp_path) == ["file.bin"]
    if locks:
        assert server.begins == [None, 30_000]


def test_whoever_waited_for_a_part_that_was_removed_makes_its_own(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "file.bin"
    thread = threading.Thread(target=get, args=(server, path))
    with parts.partial(path):  # which goes again, since nothing is written
        thread.start()
        time.sleep(0.3)
        assert server.asked == []
    thread.join()
    assert path.read_bytes() == server.content
    assert files(tmp_path) == ["file.bin"]


def test_a_folder_without_locks(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(parts.fcntl, "flock", none)
    server.plan = [whole(cut=5000), hangs_up]
    refused(server, tmp_path / "file.bin", "tries")
    assert files(tmp_path) == []
    server.plan = [whole(cut=5000), whole()]
    get(server, tmp_path / "file.bin")
    assert files(tmp_path) == ["file.bin"]


def test_a_link_keeps_pointing_where_it_did(server: Server, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    get(server, tmp_path / "link")
    assert (tmp_path / "there" / "file").read_bytes() == server.content
    assert (tmp_path / "link").is_symlink()


CONTENT = bytes(range(256)) * 300 + b"the end"
FAULTS: st.SearchStrategy[Answer] = st.one_of(
    st.builds(
        whole,
        ranges=st.booleans(),
        cut=st.none() | st.integers(0, 80_000),
        length=st.sampled_from([-1, -1, None, 70_000, 80_000]),
        shift=st.sampled_from([0, 0, 5, -5]),
    ),
    st.builds(status, st.sampled_from([200, 404, 416, 500])),
    st.builds(chunked, st.booleans()),
    st.just(hangs_up),
    st.just(other(CONTENT[:-1] + b"?")),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(FAULTS, min_size=1, max_size=6),
    left=st.none() | st.integers(0, 90_000),
    size=st.booleans(),
)
def test_whatever_happens_the_file_is_right_or_absent(
    server: Server, tmp_path: Path, plan: list[Answer], left: int | None, size: bool
) -> None:
    server.plan = [*plan, whole()]
    path = tmp_path / "file.bin"
    if left is not None:
        (tmp_path / "file.bin.part").write_bytes((CONTENT + bytes(90_000))[:left])
    for _ in range(len(plan) + 1):
        try:
            get(server, path, attempts=2, size=len(CONTENT) if size else None)
        except DataError:
            assert not path.exists()
            continue
        break
    assert path.read_bytes() == CONTENT  # the last answer of the plan is right
    assert files(tmp_path) == ["file.bin"]
    path.unlink()
