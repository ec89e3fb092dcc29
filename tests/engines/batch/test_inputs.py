"""From what was typed to what is read and written; no picture is upscaled here."""

from pathlib import Path

import numpy as np
import pytest

from shared_data import ROOT
from stereosr.batch.inputs import Inputs, Naming, collect, collect_lists
from stereosr.errors import StereosrError, UsageError
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture, read_picture
from stereosr.io.layouts import write_stereo

PICTURE = Picture(np.zeros((1, 1, 3), np.uint8))


@pytest.fixture
def views() -> tuple[Picture, Picture]:
    left, right = (read_picture(ROOT / f"examples/{side}.png") for side in ("left", "right"))
    return left, right


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(root / name, PICTURE)


def naming(root: Path, **changes: object) -> Naming:
    return Naming(**({"out": root / "out", "suffix": "_x4"} | changes))


def targets(found: Inputs, root: Path) -> list[tuple[str, ...]]:
    return [tuple(str(t.relative_to(root / "out")) for t in item.targets) for item in found.items]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a/left/1.png", "a/right/1.png"),
        ("kitti/image_02/data/1.png", "kitti/image_03/data/1.png"),
        ("a/left/b/1_L.png", "a/right/b/1_R.png"),
    ],
)
def test_every_view_keeps_its_place_in_the_tree(tmp_path: Path, left: str, right: str) -> None:
    put(tmp_path / "in", left, right)
    found = collect([tmp_path / "in"], naming(tmp_path))
    assert targets(found, tmp_path) == [(left.replace(".", "_x4."), right.replace(".", "_x4."))]
    assert found.left_out == ()


def test_two_lists_keep_their_trees(tmp_path: Path) -> None:
    put(tmp_path, *(f"{side}/{n}/1.png" for side in "xy" for n in "ab"))
    found = collect_lists(tmp_path / "x", tmp_path / "y", naming(tmp_path))
    assert targets(found, tmp_path) == [(f"left/{n}/1_x4.png", f"right/{n}/1_x4.png") for n in "ab"]
    found = collect_lists(tmp_path / "x", tmp_path / "y", naming(tmp_path, layout="ou"))
    assert targets(found, tmp_path) == [(f"{n}/1_ou_x4.png",) for n in "ab"]


def test_two_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    put(tmp_path, "cam0/1.png", "cam1/1.png")
    pair = [tmp_path / "cam0/1.png", tmp_path / "cam1/1.png"]
    assert targets(collect(pair, naming(tmp_path)), tmp_path) == [("left/1_x4.png", "right/1_x4.png")]
    assert collect(pair, naming(tmp_path, out=None)).items[0].targets == tuple(p.with_stem("1_x4") for p in pair)


def test_files_of_a_folder_that_hold_both_views(tmp_path: Path, views: tuple[Picture, Picture]) -> None:
    folder = tmp_path / "in" / "sub"
    folder.mkdir(parents=True)
    for name, layout in (("a.mpo", "mpo"), ("b_SBS.png", "sbs"), ("c_TB.png", "ou"), ("d.png", "sbs")):
        write_stereo(folder / name, *views, layout)
    put(folder, "e_lr.png", "._a.mpo.png")
    (folder / "._f.mpo").write_text("what a Mac leaves behind")
    found = collect([tmp_path / "in"], naming(tmp_path))
    assert [(item.name, item.layout) for item in found.items] == [
        ("sub/a", "mpo"),
        ("sub/b_SBS", "sbs"),
        ("sub/c_TB", "ou"),
    ]
    assert targets(found, tmp_path)[0] == ("sub/a_x4.mpo",)
    assert [Path(line.split()[-1]).name for line in found.left_out] == ["d.png", "e_lr.png"]
    found = collect([tmp_path / "in"], naming(tmp_path), "sbs")
    assert [item.name for item in found.items] == [f"sub/{n}" for n in ("a", "b_SBS", "c_TB", "d", "e_lr")]


def test_what_cannot_be_looked_into_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in", "a_L.png", "a_R.png", "secret/b_L.png")
    allowed = {tmp_path / "in", tmp_path}
    monkeypatch.setattr("os.access", lambda path, _mode: path in allowed)
    found = collect([tmp_path / "in"], naming(tmp_path))
    assert len(found.items) == 1
    assert any("cannot look into" in line and "secret" in line for line in found.left_out)
    allowed.remove(tmp_path)
    with pytest.raises(StereosrError, match=r"cannot write into .*permission denied"):
        collect([tmp_path / "in"], naming(tmp_path))


def test_results_are_no_inputs_whatever_their_suffix(tmp_path: Path) -> None:
    put(tmp_path / "in", "a_L.png", "a_R.png", "b.png")
    beside = naming(tmp_path, out=tmp_path / "in", suffix="_big")
    found = collect([tmp_path / "in"], beside)
    put(tmp_path / "in", *(target.name for target in found.items[0].targets))
    assert collect([tmp_path / "in"], beside) == found


def test_what_is_taken_for_a_result_by_its_name_is_said(tmp_path: Path, views: tuple[Picture, Picture]) -> None:
    """In a folder and in two lists; LEFT RIGHT and a file by its name are done whatever they are called."""
    put(tmp_path, "in/left/a.png", "in/right/a.png", "in/left/b_x2.png", "in/right/b_x2.png")
    write_stereo(tmp_path / "in/c_x2.mpo", *views, "mpo")
    found = collect([tmp_path / "in"], naming(tmp_path))
    assert [item.name for item in found.items] == ["a"]
    assert [line.split()[0] for line in found.left_out] == [
        str(tmp_path / "in" / name) for name in ("c_x2.mpo", "left/b_x2.png", "right/b_x2.png")
    ]
    assert all("its name ends like that of a result: rename it" in line for line in found.left_out)
    lists = collect_lists(tmp_path / "in/left", tmp_path / "in/right", naming(tmp_path))
    assert [item.name for item in lists.items] == ["a"]
    assert lists.left_out == found.left_out[1:]
    with pytest.raises(UsageError, match=r"no pictures in .*b_x2.png but what is taken for results"):
        collect_lists(tmp_path / "in/left/b_x2.png", tmp_path / "in/right", naming(tmp_path))
    by_name = [tmp_path / f"in/{side}/b_x2.png" for side in ("left", "right")]
    assert [item.sources for item in collect(by_name, naming(tmp_path)).items] == [tuple(by_name)]
    assert [item.name for item in collect([tmp_path / "in/c_x2.mpo"], naming(tmp_path)).items] == ["c_x2"]


def test_no_result_takes_the_place_of_an_input_of_another_item(tmp_path: Path, views: tuple[Picture, Picture]) -> None:
    """However the folder is spelled."""
    put(tmp_path / "in", "a_L.png", "a_R.png")
    write_stereo(tmp_path / "in/a.mpo", *views, "mpo")
    (tmp_path / "same").symlink_to(tmp_path / "in")
    beside = naming(tmp_path, suffix="", out=tmp_path / "same", format=".png", layout="pair")
    with pytest.raises(UsageError, match=r"the result of a would replace the input .*a_L.png: give --suffix"):
        collect([tmp_path / "in/a.mpo", tmp_path / "in"], beside)


def test_without_a_suffix_results_go_elsewhere(tmp_path: Path, views: tuple[Picture, Picture]) -> None:
    put(tmp_path / "in", "a_L.png", "a_R.png")
    write_stereo(tmp_path / "in/b.jps", *views, "jps")
    found = collect([tmp_path / "in"], naming(tmp_path, suffix=""))
    assert targets(found, tmp_path) == [("a_L.png", "a_R.png"), ("b.jps",)]
    with pytest.raises(UsageError, match="replace the input"):
        collect([tmp_path / "in"], naming(tmp_path, suffix="", out=tmp_path / "in"))


@pytest.mark.parametrize(
    ("name", "changes", "target"),
    [
        ("a.mpo", {}, "a_x4.mpo"),
        ("a.mpo", {"format": ".jpg"}, "a_x4.jpg"),
        ("a.mpo", {"layout": "sbs"}, "a_x4.jpg"),
        ("a.mpo", {"layout": "jps"}, "a_x4.jps"),
        ("a.mpo", {"layout": "anaglyph", "format": ".png"}, "a_x4.png"),
    ],
)
def test_the_suffix_is_what_the_layout_needs(
    tmp_path: Path, views: tuple[Picture, Picture], name: str, changes: dict[str, str], target: str
) -> None:
    write_stereo(tmp_path / name, *views, "mpo")
    assert targets(collect([tmp_path / name], naming(tmp_path, **changes)), tmp_path) == [(target,)]
    with pytest.raises(UsageError, match="JPEG inside; leave out -f tiff"):
        collect([tmp_path / name], naming(tmp_path, format=".tiff"))


def test_two_candidates_for_a_view_are_said_once(tmp_path: Path) -> None:
    put(tmp_path / "in", "a_L.png", "a_R.png", "a_L.jpg", "a_R.jpg", "b_L.png", "b_R.png", "c_L.png")
    for found in (
        collect([tmp_path / "in"], naming(tmp_path)),
        collect_lists(tmp_path / "in/*_L.*", tmp_path / "in/*_R.*", naming(tmp_path)),
    ):
        assert [item.name for item in found.items] == ["b"]
        rivals = ", ".join(str(tmp_path / "in" / name) for name in ("a_L.jpg", "a_L.png", "a_R.jpg", "a_R.png"))
        assert found.left_out[0] == (
            f"{rivals} are left out, as several could be the same view: rename or move all but one pair"
        )
        assert found.left_out[1:] == (f"no partner for {tmp_path / 'in/c_L.png'}",)
