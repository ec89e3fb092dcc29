"""From what was typed to what is read and written; no picture is upscaled here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pil

from shared_data import ROOT
from stereosr.batch.inputs import Inputs, Naming, collect, collect_lists, is_file_name
from stereosr.batch.pictures import encode_results
from stereosr.errors import StereosrError, UsageError
from stereosr.io.encode import write_picture
from stereosr.io.images import Picture, read_picture
from stereosr.io.layouts import Layout, read_pair, write_stereo

PICTURE = Picture(np.zeros((1, 1, 3), np.uint8))


@pytest.fixture(scope="module")
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
    assert targets(found, tmp_path) == [(f"{n}/1_TB_x4.png",) for n in "ab"]


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
        ("sub/d", "sbs"),
    ]
    assert targets(found, tmp_path)[0] == ("sub/a_x4.mpo",)
    assert targets(found, tmp_path)[3] == ("sub/d_SBS_x4.png",)
    assert [Path(line.split()[-1]).name for line in found.left_out] == ["e_lr.png"]
    put(folder, "f_L.png", "f_R.png")
    found = collect([tmp_path / "in"], naming(tmp_path), "sbs-half")
    assert {item.name: item.layout for item in found.items} == {
        "sub/a": "mpo",
        "sub/b_SBS": "sbs-half",
        "sub/c_TB": "ou",
        "sub/d": "sbs-half",
        "sub/e_lr": "sbs-half",
        "sub/f": "pair",
    }
    assert [item.name for item in collect([tmp_path / "in"], naming(tmp_path), "pair").items] == ["sub/f"]


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
    with pytest.raises(UsageError, match=r"the result of a would replace the input .*a_L.png: give a suffix"):
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
        ("a.mpo", {"layout": "sbs"}, "a_SBS_x4.jpg"),
        ("a.mpo", {"layout": "jps"}, "a_x4.jps"),
        ("a.mpo", {"layout": "anaglyph", "format": ".png"}, "a_redcyan_x4.png"),
        ("a.mpo", {"layout": "wiggle"}, "a_wiggle_x4.webp"),
        ("a.mpo", {"layout": "wiggle", "format": ".gif"}, "a_wiggle_x4.gif"),
    ],
)
def test_the_suffix_is_what_the_layout_needs(
    tmp_path: Path, views: tuple[Picture, Picture], name: str, changes: dict[str, str], target: str
) -> None:
    write_stereo(tmp_path / name, *views, "mpo")
    assert targets(collect([tmp_path / name], naming(tmp_path, **changes)), tmp_path) == [(target,)]
    with pytest.raises(UsageError, match="JPEG inside; leave out the format tiff"):
        collect([tmp_path / name], naming(tmp_path, format=".tiff"))
    with pytest.raises(UsageError, match=r"cannot write .*\.png: \.png is none of \.gif, \.webp"):
        collect([tmp_path / name], naming(tmp_path, layout="wiggle", format=".png"))
    with pytest.raises(UsageError, match=r"cannot write .*\.gif: \.gif is none of "):
        collect([tmp_path / name], naming(tmp_path, layout="sbs", format=".gif"))


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


JOINED: tuple[Layout, ...] = ("sbs", "sbs-half", "ou", "ou-half", "mpo", "jps")


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, views: tuple[Picture, Picture], data: st.DataObject
) -> None:
    """Whatever the input is called and however it holds its views, twice over."""
    root = tmp_path_factory.mktemp("again")
    layout = data.draw(st.sampled_from(JOINED))
    wanted = data.draw(st.sampled_from([None, "pair", "pns", *JOINED]))
    stem = data.draw(st.sampled_from(["a", "film_SBS", "b_RL", "ou est-ce", "c_HSBS", "d-TB", "x_crosseye", "e_FSBS"]))
    height, width = data.draw(st.sampled_from([(40, 60), (64, 57), (36, 128), (9, 11)]))
    left, right = (replace(view, pixels=view.pixels[:height, :width].copy()) for view in views)
    path = root / f"{stem}.{layout if layout in ('mpo', 'jps') else 'pns' if wanted == 'pns' else 'png'}"
    write_stereo(path, left, right, layout)
    given = layout  # what the name of the file says is another matter
    for turn in ("once", "twice"):
        chosen = replace(naming(root, out=root / turn), layout=None if wanted == "pns" else wanted)
        (item,) = collect([path], chosen, given).items
        for target, content in encode_results(item, read_pair(item.sources, item.layout), None):
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content)
        first, second = read_pair(item.targets)
        assert first.pixels.shape == second.pixels.shape
        assert abs(first.pixels.shape[0] - height) <= 1  # half of an odd size is rounded up
        assert abs(first.pixels.shape[1] - width) <= 1
        read = first.pixels[:height, :width].astype(float)
        unlike = [np.abs(view.pixels[: len(read), : read.shape[1]] - read).mean() for view in (left, right)]
        assert unlike[0] < unlike[1]
        (again,) = collect(item.targets, naming(root)).items
        assert again.layout == item.out_layout
        path, given = item.targets[0], None
        if len(item.targets) == 2:
            break


def test_an_anaglyph_is_refused_for_what_it_is(tmp_path: Path, views: tuple[Picture, Picture]) -> None:
    write_stereo(tmp_path / "a_redcyan_x4.png", *views, "anaglyph")
    with pytest.raises(UsageError, match="it is an anaglyph, whose views cannot be told apart"):
        collect([tmp_path / "a_redcyan_x4.png"], naming(tmp_path))
    write_stereo(tmp_path / "a_wiggle_x4.webp", *views, "wiggle")
    with pytest.raises(UsageError, match="it is an animation to look at: give the views it was made of"):
        collect([tmp_path / "a_wiggle_x4.webp"], naming(tmp_path))


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [("a_L.png", "a_R.png", "a"), ("x/1.png", "y/1.png", "1"), ("one.png", "two.png", "one-two")],
)
def test_what_holds_both_views_is_not_called_after_the_left_one(
    tmp_path: Path, left: str, right: str, name: str
) -> None:
    put(tmp_path, left, right)
    for layout, ending in (("sbs", "_SBS_x4.png"), ("anaglyph", "_redcyan_x4.png"), ("mpo", "_x4.mpo")):
        found = collect([tmp_path / left, tmp_path / right], naming(tmp_path, layout=layout))
        assert targets(found, tmp_path) == [(f"{name}{ending}",)]


class TestFilesByName:
    @pytest.fixture
    def pair(self, tmp_path: Path) -> list[Path]:
        put(tmp_path, "a_L.png", "a_R.png")
        return [tmp_path / "a_L.png", tmp_path / "a_R.png"]

    def test_one_file_for_both_views(self, tmp_path: Path, pair: list[Path]) -> None:
        for name, layout in (
            ("up.png", "sbs"),
            ("up.webp", "anaglyph"),
            ("up.gif", "wiggle"),
            ("up.mpo", None),
            ("up.jps", None),
        ):
            chosen = naming(tmp_path, out=None, files=(tmp_path / name,), layout=layout)
            (item,) = collect(pair, chosen).items
            assert item.targets == (tmp_path / name,)
            assert item.out_layout == (layout or name[3:])

    def test_two_files(self, tmp_path: Path, pair: list[Path]) -> None:
        both = (tmp_path / "l.png", tmp_path / "r.tif")
        assert collect(pair, naming(tmp_path, out=None, files=both)).items[0].targets == both
        with pytest.raises(UsageError, match="give one file, or the layout pair"):
            collect(pair, naming(tmp_path, out=None, files=both, layout="sbs"))

    def test_one_file_for_two_views_is_refused(self, tmp_path: Path, pair: list[Path]) -> None:
        alone = naming(tmp_path, out=None, files=(tmp_path / "up.png",))
        with pytest.raises(UsageError, match=r"two views do not go into .*up.png: give two files"):
            collect(pair, alone)
        with pytest.raises(UsageError, match=r"is a folder: say to which folder .*, not .*up.png"):
            collect([tmp_path], alone)
        put(tmp_path, "b_L.png", "b_R.png")
        with pytest.raises(UsageError, match="say to which folder"):
            collect_lists(f"{tmp_path}/*_L.png", f"{tmp_path}/*_R.png", alone)

    def test_what_means_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "folder.png").mkdir()
        for name, meant in (("a.png", True), ("a.MPO", True), ("a.mp4", True), ("a.b", False), ("folder.png", False)):
            assert is_file_name(tmp_path / name) == meant


def test_a_suffix_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    put(tmp_path, "a_L.png", "a_R.png")
    for side in "LR":
        (tmp_path / f"a_{side}.png").rename(tmp_path / f"a_{side}.dat")
    pair = [tmp_path / "a_L.dat", tmp_path / "a_R.dat"]
    with pytest.raises(UsageError, match=r"cannot write .*a_L_x4.dat: .dat is none of .*png"):
        collect(pair, naming(tmp_path))
    assert len(collect(pair, naming(tmp_path, format=".png")).items) == 1


def test_results_within_the_folder_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "a_L.png", "a_R.png", "out/b_L.png", "out/b_R.png", "out/sub/c.png", "other/d_L.png", "other/d_R.png")
    found = collect([tmp_path], naming(tmp_path))
    assert ([item.name for item in found.items], found.left_out) == (["a", "other/d"], ())
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert len(collect([tmp_path], naming(tmp_path, out=tmp_path / "link")).items) == 2


def test_pictures_of_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    put(tmp_path / "in", "a_L.png", "a_R.png")
    for name in ("b_L.gif", "c.NEF", "notes.txt"):
        (tmp_path / "in" / name).touch()
    assert collect([tmp_path / "in"], naming(tmp_path)).left_out == (
        f"{tmp_path / 'in/b_L.gif'} is left out, as .gif is not read here: convert it to PNG",
        f"{tmp_path / 'in/c.NEF'} is left out, as .NEF is not read here: convert it to PNG",
    )


def test_two_heic_files_of_one_view_each_are_a_pair(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif")
    for side in "LR":
        heif.from_pillow(Pil.new("RGB", (64, 48))).save(tmp_path / f"a_{side}.heic")
    (item,) = collect([tmp_path / "a_L.heic", tmp_path / "a_R.heic"], naming(tmp_path)).items
    assert [path.name for path in item.targets] == ["a_L_x4.jpg", "a_R_x4.jpg"]
    (item,) = collect([tmp_path], naming(tmp_path)).items
    assert item.layout == "pair"


def test_a_pair_of_single_files_is_a_pair(tmp_path: Path) -> None:
    put(tmp_path, "one.png", "two.png")
    (item,) = collect_lists(tmp_path / "one.png", tmp_path / "two.png", naming(tmp_path, out=None)).items
    assert item.targets == (tmp_path / "one_x4.png", tmp_path / "two_x4.png")
