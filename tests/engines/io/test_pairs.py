"""Pairs are found by convention, every convention of the table; what is not certain is listed, not guessed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_data import shared
from stereosr.errors import UsageError
from stereosr.io.pairs import FolderScan, PairFiles, pair_lists, scan_folder

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Makes empty files and gives their folder."""

    def make(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def seen(scan: FolderScan, root: Path) -> tuple[list[tuple[str, str, str]], list[str]]:
    pairs = [(p.name, p.left.relative_to(root).as_posix(), p.right.relative_to(root).as_posix()) for p in scan.pairs]
    return pairs, [p.relative_to(root).as_posix() for p in scan.unmatched]


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [
        ("photo_L.png", "photo_R.png", "photo"),
        ("photo_l.png", "photo_r.png", "photo"),
        ("photo-l.png", "photo-r.png", "photo"),
        ("photo-left.png", "photo-right.png", "photo"),
        ("photo_left.png", "photo_right.png", "photo"),
        ("photo.left.png", "photo.right.png", "photo"),
        ("my photo left.png", "my photo right.png", "my photo"),
        ("left.png", "right.png", "{root}"),
        ("left0001.png", "right0001.png", "0001"),
        ("left_0001.png", "right_0001.png", "0001"),
        ("Left.PNG", "Right.PNG", "{root}"),
        ("photo_L.png", "photo_R.jpg", "photo"),
        ("left/a.png", "right/a.webp", "a"),
        ("L/a.tif", "R/a.tif", "a"),
        ("l/a.tif", "r/a.tif", "a"),
        ("image_2/000000_10.png", "image_3/000000_10.png", "000000_10"),
        ("drive/image_02/data/0.png", "drive/image_03/data/0.png", "drive/data/0"),
        ("colored_0/000000_10.png", "colored_1/000000_10.png", "000000_10"),
        ("images_left/a.png", "images_right/a.png", "images/a"),
        ("left/a_left.png", "right/a_right.png", "a"),
        ("left/left0001.png", "right/right0001.png", "0001"),
        ("L/a_L.png", "R/a_R.png", "a"),
        ("L/a_L.png", "L/a_R.png", "L/a"),
        ("left/a_L.png", "left/a_R.png", "left/a"),
        ("scene/lr0.png", "scene/lr1.png", "scene"),
        ("scene/hr0.png", "scene/hr1.png", "scene"),
        ("scene/im0.png", "scene/im1.png", "scene"),
        ("scene/view1.png", "scene/view5.png", "scene"),
        ("scene/left.png", "scene/right.png", "scene"),
        ("0001_lr0.png", "0001_lr1.png", "0001"),
        ("deep/er/photo_L.png", "deep/er/photo_R.png", "deep/er/photo"),
        ("Bäume 日本/ä_L.png", "Bäume 日本/ä_R.png", "Bäume 日本/ä"),
        ("a [1]_L.png", "a [1]_R.png", "a [1]"),
    ],
)
def test_conventions(tree: Tree, left: str, right: str, name: str) -> None:
    root = tree(left, right)
    assert seen(scan_folder(root), root) == ([(name.format(root=root.name), left, right)], [])


@pytest.mark.parametrize(
    "names",
    [
        ["photo_L.png"],
        ["photo.png", "other.png"],
        ["photo_L.png", "photo-R.png"],
        ["photo_L.png", "photo_right.png"],
        ["photo_L.png", "other_R.png"],
        ["a/photo_L.png", "b/photo_R.png"],
        ["slim0.png", "slim1.png"],
        ["image_2.png", "image_3.png"],
        ["wall.png", "war.png"],
        ["left/a.png", "R/a.png"],
        ["left/a.png", "right/b.png"],
        ["photo_L.jpg", "photo_L.png", "photo_R.png"],
        ["left/a.jpg", "left/a.png", "right/a.png"],
        ["photo_L.png", "photo_R.png", "photo-left.png", "photo-right.png"],
        ["scene/hr0.png", "scene/hr1.png", "scene/lr0.png", "scene/lr1.png"],
    ],
)
def test_what_is_not_certain_is_listed(tree: Tree, names: list[str]) -> None:
    root = tree(*names)
    assert seen(scan_folder(root), root) == ([], sorted(names))


def test_an_ambiguous_pair_does_not_disturb_the_others(tree: Tree) -> None:
    root = tree("a_L.png", "a_R.png", "b_L.png", "b_L.tif", "b_R.png", "c.png")
    assert seen(scan_folder(root), root) == (
        [("a", "a_L.png", "a_R.png")],
        ["b_L.png", "b_L.tif", "b_R.png", "c.png"],
    )


def test_results_hidden_files_and_others_are_passed_over(tree: Tree) -> None:
    names = [
        "a_L.png",
        "a_R.png",
        "a_L_x4.png",
        "a_R_x4.png",
        "left_x2.png",
        "right_x2.png",
        "._a_L.png",
        ".git/b_L.png",
    ]
    root = tree(*names, "a.txt", "left.npy", "clip.mpo")
    (root / "b_L.png").mkdir()
    assert seen(scan_folder(root), root) == ([("a", "a_L.png", "a_R.png")], [])
    assert len(scan_folder(root, ignore_suffixes=("_x4",)).pairs) == 2


def test_order_is_that_of_the_names(tree: Tree) -> None:
    root = tree(*(f"{n}_{side}.png" for n in "cab" for side in "RL"), "0/left.png", "0/right.png")
    assert [p.name for p in scan_folder(root).pairs] == ["0", "a", "b", "c"]


def test_an_empty_folder(tmp_path: Path) -> None:
    assert scan_folder(tmp_path) == FolderScan((), ())


def test_no_folder(tree: Tree) -> None:
    root = tree("a.png")
    for path in (root / "nowhere", root / "a.png"):
        with pytest.raises(UsageError, match="is not a folder"):
            scan_folder(path)


@settings(deadline=None, max_examples=40)
@given(names=st.sets(st.text("abLR_-1", min_size=1, max_size=6), max_size=12))
def test_every_picture_is_named_once(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    root = tmp_path_factory.mktemp("any")
    files = {root / f"{name}.png" for name in names}
    for file in files:
        file.touch()
    scan = scan_folder(root)
    named = [p for pair in scan.pairs for p in (pair.left, pair.right)] + list(scan.unmatched)
    assert sorted(named) == sorted(files)
    assert len({pair.name for pair in scan.pairs}) == len(scan.pairs)


class TestLists:
    def test_folders(self, tree: Tree) -> None:
        root = tree("x/a.png", "x/sub/b.png", "y/a.jpg", "y/sub/b.png", "y/c.png", "x/a_x4.png", "y/a_x4.png")
        scan = pair_lists(root / "x", root / "y")
        assert seen(scan, root) == ([("a", "x/a.png", "y/a.jpg"), ("sub/b", "x/sub/b.png", "y/sub/b.png")], ["y/c.png"])

    def test_folders_of_marked_files(self, tree: Tree) -> None:
        root = tree("x/a_L.png", "y/a_R.png", "x/left1.png", "y/right1.png")
        assert [p.name for p in pair_lists(root / "x", root / "y").pairs] == ["1", "a"]

    def test_a_mark_of_the_other_side_is_no_mark(self, tree: Tree) -> None:
        root = tree("x/a_R.png", "y/a_L.png")
        assert not pair_lists(root / "x", root / "y").pairs

    def test_patterns(self, tree: Tree) -> None:
        root = tree(*(f"scenes/{s}/{f}.png" for s in "ab" for f in ("hr0", "hr1", "lr0", "lr1")))
        scan = pair_lists(f"{root}/scenes/*/lr0.png", f"{root}/scenes/*/lr1.png")
        assert scan.pairs == tuple(
            PairFiles(s, root / f"scenes/{s}/lr0.png", root / f"scenes/{s}/lr1.png") for s in "ab"
        )

    def test_patterns_in_one_folder_and_below(self, tree: Tree) -> None:
        root = tree("a_L.png", "a_R.png", "sub/b_L.png", "sub/b_R.png")
        assert [p.name for p in pair_lists(f"{root}/*_L.*", f"{root}/*_R.*").pairs] == ["a"]
        assert [p.name for p in pair_lists(f"{root}/**/*_L.*", f"{root}/**/*_R.*").pairs] == ["a", "sub/b"]

    def test_single_files_with_special_characters(self, tree: Tree) -> None:
        root = tree("a [1]_L.png", "a [1]_R.png")
        assert [p.name for p in pair_lists(root / "a [1]_L.png", root / "a [1]_R.png").pairs] == ["a [1]"]

    def test_relative_patterns(self, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tree("a_L.png", "a_R.png"))
        assert pair_lists("*_L.png", "*_R.png").pairs == (PairFiles("a", Path("a_L.png"), Path("a_R.png")),)

    def test_two_candidates_are_both_listed(self, tree: Tree) -> None:
        root = tree("x/a.png", "x/a.jpg", "y/a.png")
        assert seen(pair_lists(root / "x", root / "y"), root) == ([], ["x/a.jpg", "x/a.png", "y/a.png"])

    @pytest.mark.parametrize("where", ["nowhere", "x", "x/*.png", "**.png"])
    def test_nothing_there(self, tree: Tree, where: str) -> None:
        root = tree("x/a.txt", "y/a.png")
        with pytest.raises(UsageError, match=r"no pictures in .*give a folder"):
            pair_lists(f"{root}/{where}", root / "y")

    def test_the_same_files_twice(self, tree: Tree) -> None:
        root = tree("x/a.png")
        with pytest.raises(UsageError, match=r"a\.png is in both lists"):
            pair_lists(root / "x", f"{root}/x/*.png")


@pytest.mark.parametrize("tree_name", ["KITTI2015/hr", "KITTI2015/lr_x4", "Middlebury4/hr"])
def test_the_benchmarks(tree_name: str) -> None:
    root = shared(f"bench/{tree_name}")
    scan = scan_folder(root)
    assert [pair.name for pair in scan.pairs] == sorted(p.name for p in root.iterdir())
    assert not scan.unmatched
