"""Extensions are made anew when their making changed; old ones go; the key is asked for first."""

import shutil
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from lib import debian_lock, erofs, extensions, models, release, wheels
from lib.debian_lock import Entry
from lib.host import HostError

TOOL = Entry("tools", "erofs-utils", "1.8", "amd64", "pool/e.deb", 1, "0" * 64)


@dataclass
class Maker:
    """A place for extensions, with everything faked that takes gigabytes or signs."""

    folder: Path
    key: Path
    tools: list[Entry] = field(default_factory=lambda: [TOOL])
    steps: list[str] = field(default_factory=list)
    fails: bool = False

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def build(self, name: str = "cuda") -> Path:
        return extensions.build(name, self.key, self.output)

    def download(self, *_: object) -> list[Path]:
        self.steps.append("download")
        wheel = self.folder / "thing-1.2-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("thing/__init__.py", "code")
            archive.writestr("thing-1.2.dist-info/METADATA", "Name: thing\nVersion: 1.2\n")
        return [wheel]

    def pack(self, root: Path, image: Path, *_: object) -> None:
        self.steps.append("pack")
        image.write_text("half" if self.fails else "packed")
        if self.fails:
            raise HostError("no space")

    def publish(self, image: Path, record: models.Record, key: Path) -> Path:
        self.steps.append(f"publish {record.kind} {record.name} {image.read_text()}")
        return image

    def held(self) -> list[str]:
        """Every file below the output, without the digests."""
        return sorted(path.name for path in self.output.rglob("*") if path.is_file())


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    made = Maker(tmp_path, tmp_path / "publisher.pem")
    made.key.write_text("key")
    shutil.copytree(extensions.CODE, tmp_path / "code", ignore=shutil.ignore_patterns("__*"))
    for name in extensions.NAMES:
        (tmp_path / f"wheels-{name}.txt").write_text(name)
    for owner, name, value in (
        (extensions, "CODE", tmp_path / "code"),
        (extensions, "lock", lambda name: tmp_path / f"wheels-{name}.txt"),
        (wheels, "download", made.download),
        (erofs, "build", made.pack),
        (models, "publish", made.publish),
        (debian_lock, "read", lambda group: made.tools if group == "tools" else []),
    ):
        monkeypatch.setattr(owner, name, value)
    return made


def test_what_has_not_changed_is_packed_once(maker: Maker) -> None:
    assert maker.build() == maker.build()
    published = "publish extension cuda packed"
    assert maker.steps == ["download", "pack", published, published]


@pytest.mark.parametrize(
    "name", ["erofs", "extensions", "layout", "release", "sbom", "tree", "wheels"]
)
def test_a_change_in_the_code_that_makes_it_makes_it_anew(maker: Maker, name: str) -> None:
    before = extensions.digest("cuda")
    with (maker.folder / f"code/{name}.py").open("a") as file:
        file.write("\n# changed\n")
    assert extensions.digest("cuda") != before


def test_a_change_of_list_tools_version_or_time_makes_it_anew(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [extensions.digest("cuda"), extensions.digest("torch")]
    maker.tools = [replace(TOOL, sha256="1" * 64)]
    digests.append(extensions.digest("cuda"))
    monkeypatch.setattr(release, "version", lambda: "9.9")
    digests.append(extensions.digest("cuda"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    digests.append(extensions.digest("cuda"))
    (maker.folder / "wheels-cuda.txt").write_text("another")
    digests.append(extensions.digest("cuda"))
    assert len(set(digests)) == len(digests)


def test_old_results_and_what_was_left_half_go_with_a_new_one(maker: Maker) -> None:
    maker.build("torch")
    old = maker.build("cuda")
    (maker.output / "interrupted").mkdir()
    (maker.folder / "wheels-cuda.txt").write_text("another")
    new = maker.build("cuda")
    assert new != old
    assert maker.held() == ["cuda.erofs", "torch.erofs"]
    assert {path.name for path in maker.output.iterdir()} == {
        extensions.digest(name) for name in extensions.NAMES
    }


def test_a_build_that_fails_keeps_the_old_one_and_leaves_nothing_half(maker: Maker) -> None:
    maker.build()
    (maker.folder / "wheels-cuda.txt").write_text("another")
    maker.fails = True
    with pytest.raises(HostError, match="no space"):
        maker.build()
    assert maker.held() == ["cuda.erofs"]
    assert not (maker.output / extensions.digest("cuda")).exists()


def test_a_missing_key_is_told_before_anything_is_downloaded(maker: Maker) -> None:
    maker.key.unlink()
    with pytest.raises(HostError, match=r"publisher\.pem is missing; `secureboot/keys` makes it"):
        maker.build()
    assert maker.steps == []


def test_only_extensions_that_there_are_can_be_named() -> None:
    with pytest.raises(HostError, match="there is no extension 'rust'; there are: cuda, torch"):
        extensions.lock("rust")
    for name in extensions.NAMES:
        assert extensions.lock(name).exists()
