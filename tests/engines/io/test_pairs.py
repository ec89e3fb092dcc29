"""Pairs are found by convention, every convention of the table; what is not certain is listed, not guessed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_data import shared
from stereosr.errors import UsageError
from stereosr.io.pairs import FolderScan, PairFiles, pair_lists, pair_name, scan_folder

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
        ["im0.png", "im1.png", "im2.png", "im3.png", "im4.png", "im5.png", "im6.png"],
        ["cam0.png", "cam1.png", "cam2.png"],
        ["image_0.png", "image_1.png"],
        ["image_0/rgb.png", "image_1/rgb.png", "image_4/rgb.png"],
        ["IMGL.png", "IMGR.png"],
        ["wal.png", "war.png"],
        ["clean.png", "cream.png"],
        ["right turn.png", "left wing.png"],
        ["upright.png", "upleft.png"],
    ],
)
def test_what_is_not_certain_is_listed(tree: Tree, names: list[str]) -> None:
    root = tree(*names)
    assert seen(scan_folder(root), root) == ([], sorted(names))


# The names of two views, of a scene {0} and a number {1}, as cameras, programs and data sets write them.
SCHEMES = [
    ("{0}_{1}_L", "{0}_{1}_R"),
    ("{0}_{1}_l", "{0}_{1}_r"),
    ("{0}{1}-L", "{0}{1}-R"),
    ("{0}.{1}.L", "{0}.{1}.R"),
    ("{0} {1} L", "{0} {1} R"),
    ("{0} {1}(L)", "{0} {1}(R)"),
    ("{0}{1} [L]", "{0}{1} [R]"),
    ("{0}{1}L", "{0}{1}R"),
    ("{0}{1}l", "{0}{1}r"),
    ("{0}L", "{0}R"),
    ("{0}L{1}", "{0}R{1}"),
    ("L{1}", "R{1}"),
    ("L_{0}_{1}", "R_{0}_{1}"),
    ("{0}_L{1}", "{0}_R{1}"),
    ("{0}_L_{1}", "{0}_R_{1}"),
    ("{0}.l.{1}", "{0}.r.{1}"),
    ("{0}{1}_left", "{0}{1}_right"),
    ("{0}{1}-Left", "{0}{1}-Right"),
    ("{0}{1}left", "{0}{1}right"),
    ("{0}Left{1}", "{0}Right{1}"),
    ("left{1}", "right{1}"),
    ("left_{0}_{1}", "right_{0}_{1}"),
    ("Left {0} {1}", "Right {0} {1}"),
    ("ZED_left_{1}", "ZED_right_{1}"),
    ("{0}_{1}_left_final", "{0}_{1}_right_final"),
    ("{0}.left.{1}", "{0}.right.{1}"),
    ("{0}_{1}_leftEye", "{0}_{1}_rightEye"),
    ("{0}_{1}_leftImg8bit", "{0}_{1}_rightImg8bit"),
    ("{0}{1}_LE", "{0}{1}_RE"),
    ("{0}_{1}_Infrared_1", "{0}_{1}_Infrared_2"),
    ("{0}_{1}_infra1", "{0}_{1}_infra2"),
    ("{0}_cam0_{1}", "{0}_cam1_{1}"),
    ("{0}_{1}_camL", "{0}_{1}_camR"),
    ("{0}/{1}/im0", "{0}/{1}/im1"),
    ("{0}/{1}/im2", "{0}/{1}/im6"),
    ("{0}/{1}/view1", "{0}/{1}/view5"),
    ("{0}/{1}/left", "{0}/{1}/right"),
    ("left/{0}_{1}", "right/{0}_{1}"),
    ("{0}/L/{1}", "{0}/R/{1}"),
    ("camL/{0}{1}", "camR/{0}{1}"),
    ("{0}/cam0/data/{1}", "{0}/cam1/data/{1}"),
    ("{0}/Camera_0/{1}", "{0}/Camera_1/{1}"),
    ("infra1/{0}{1}", "infra2/{0}{1}"),
    ("image_0/{1}_10", "image_1/{1}_10"),
    ("image_00/data/{1}", "image_01/data/{1}"),
    ("left/{0}_L_{1}", "right/{0}_R_{1}"),
    ("leftImg8bit/{0}_{1}_leftImg8bit", "rightImg8bit/{0}_{1}_rightImg8bit"),
    ("left/seq_r/{0}{1}", "right/seq_r/{0}{1}"),
]


@pytest.mark.parametrize(("left", "right"), SCHEMES, ids=[left for left, _ in SCHEMES])
@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_every_scheme_in_any_company(
    tmp_path_factory: pytest.TempPathFactory, left: str, right: str, data: st.DataObject
) -> None:
    """Of some scenes both views are there, of others only the left, the right, or pictures that are neither: exactly
    those of which both are there are paired."""
    words = st.text("abcdeghkmnostuw", min_size=2, max_size=5)  # no word of them is a mark
    scenes = data.draw(st.dictionaries(words, st.sampled_from(["both", "left", "right", "neither"]), max_size=6))
    root = tmp_path_factory.mktemp("company")
    expected = set()
    for number, (scene, there) in enumerate(scenes.items(), 1000):
        names = [f"{template.format(scene, number)}.png" for template in (left, right)]
        chosen = {"both": names, "left": names[:1], "right": names[1:], "neither": [f"{scene}_{number}.png"]}[there]
        for name in chosen:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        if there == "both":
            expected.add((root / names[0], root / names[1]))
    assert {(pair.left, pair.right) for pair in scan_folder(root).pairs} == expected


def test_two_candidates_for_a_view_are_said_together(tree: Tree) -> None:
    root = tree("a_L.jpg", "a_L.png", "a_R.jpg", "a_R.png", "b_L.png", "b_R.png", "c.png")
    scan = scan_folder(root)
    assert [pair.name for pair in scan.pairs] == ["b"]
    assert [[path.name for path in group] for group in scan.contested] == [["a_L.jpg", "a_L.png", "a_R.jpg", "a_R.png"]]


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [
        ("a_L.png", "a_R.png", "a"),
        ("x/scene_L_001.png", "y/scene_R_001.png", "scene_001"),
        ("IMG(L).png", "IMG(R).png", "IMG"),
        ("holiday/left.png", "holiday/right.png", "holiday"),
        ("cam0/17.png", "cam1/17.png", "17"),
        ("one.png", "two.png", "one-two"),
    ],
)
def test_what_two_files_are_called_together(left: str, right: str, name: str) -> None:
    assert pair_name(Path(left), Path(right)) == name


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

    @pytest.mark.parametrize(
        ("left", "right", "names"),
        [
            ("a*_first.png", "b*_second.png", ["1", "2"]),
            ("a?_first.*", "b?_second.*", ["1", "2"]),
            ("[a]*_first.png", "[!a]*_second.png", []),
            ("*1_first.png", "*1_second.png", []),
            ("a1_first.png", "b2_second.png", ["{root}"]),
        ],
    )
    def test_what_the_wildcards_take_in(self, tree: Tree, left: str, right: str, names: list[str]) -> None:
        root = tree("a1_first.png", "a2_first.png", "b1_second.png", "b2_second.png")
        scan = pair_lists(f"{root}/{left}", f"{root}/{right}")
        assert [pair.name for pair in scan.pairs] == [name.format(root=root.name) for name in names]

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
