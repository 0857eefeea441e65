"""The assembly that both builders feed: root tree and kernel in, everything that ships out.

    root tree → root.erofs → root.verity → command line → uki.efi → signed UKI ┐
    models, signed → state.ext4                     systemd-boot, signed → ESP ┴→ ainos.img
    all of it → manifest.json (with the PCR values to expect), sbom.cdx.json

Nothing here knows how the tree was made; the target says for what machine. Equal inputs give equal
unsigned parts; only what is signed with a time in it (sbsign) differs between two builds, and with
it the ESP and the disk.

    assemble(Inputs(root=tree, kernel=image, models=folders), out)
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lib import debian_lock, disk, erofs, fsverity, models, prediction, sbom, tools, verity
from lib.host import KEYS, published, run, sha256_file
from lib.layout import EROFS_UUID, MIB, VOLUME_HEADER, Layout, grown, slot_uuids
from lib.prediction import SECUREBOOT
from lib.progress import step
from lib.release import epoch, version
from lib.variant import DEFAULT, Target
from lib.verity import HashTree

MANIFEST = "manifest.json"
SBOM = "sbom.cdx.json"
DISK = "ainos.img"
APPROVAL = "uki.seal.json"
# The disk is not among the digests: it is the sum of the others, 3.6 GiB of which most is empty.
LISTED = ("uki.efi", "uki.unsigned.efi", "root.erofs", "root.verity", SBOM)
STAMP = ".inputs.json"
# The modules that decide what comes out.
RECIPE = (
    *("architecture", "assembly", "disk", "layout", "prediction", "release", "sbom", "tools"),
    "verity",
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an image is made of. ``models`` are directories that `lib.models` published."""

    root: Path
    kernel: Path
    models: tuple[Path, ...]
    target: Target = DEFAULT
    # Another builder's boot loader and stub, by their names in systemd's package; else Debian's.
    boot: Path | None = None

    def boot_file(self, place: str) -> Path:
        """Return the boot loader or the stub, named by its place in systemd's package."""
        if self.boot:
            return self.boot / Path(place).name
        return tools.boot(self.target.architecture) / place

    @property
    def layout(self) -> Layout:
        """The disk's partitions; state grows with what is delivered there."""
        files = [path for folder in self.models for path in folder.iterdir()]
        return grown(self.target.layout, sum(path.stat().st_size for path in files))

    @property
    def loader(self) -> str:
        """The name of the signed boot loader among what is made."""
        return Path(self.target.architecture.boot_loader).name

    @property
    def variables(self) -> str:
        """The name of the firmware's variable store among what is made."""
        return self.target.architecture.store


@dataclass(frozen=True, slots=True)
class Stamps:
    """Hashes of what a finished image was made from: the root file system's, and everything's."""

    root: str
    all: str

    @classmethod
    def of(cls, inputs: Inputs, *, sign: bool) -> Stamps:
        """Hash the inputs, this code and, for a signed image, the certificates."""
        root = hashlib.sha256()
        tools_lock = "".join(entry.sha256 for entry in debian_lock.read(group="tools"))
        root.update(f"{tools_lock} {epoch()} {tree_digest(inputs.root)}".encode())
        root.update(Path(erofs.__file__).read_bytes())
        whole = root.copy()
        architecture = inputs.target.architecture
        boot = [inputs.boot_file(architecture.stub), inputs.boot_file(architecture.boot_loader)]
        boot_digests = [sha256_file(path) for path in boot]
        whole.update(f"{inputs.layout} {inputs.target.options} {boot_digests}".encode())
        sources = [inputs.kernel, *(Path(__file__).with_name(f"{name}.py") for name in RECIPE)]
        sources += [path for folder in inputs.models for path in sorted(folder.iterdir())]
        if sign:
            sources += sorted(KEYS.glob("*.pem"))
            sources += sorted((SECUREBOOT / "lib").glob("*.py"))
        for path in sources:
            whole.update(f"{path.name} {sha256_file(path)}\n".encode())
        return cls(root.hexdigest(), whole.hexdigest())

    @classmethod
    def read(cls, out: Path) -> Stamps:
        """Return the stamps of the image in ``out``; empty ones when there is none."""
        try:
            return cls(**json.loads((out / STAMP).read_text()))
        except (OSError, ValueError, TypeError):
            return cls("", "")

    def write(self, out: Path) -> None:
        """Say what the image in ``out`` is made from, once it is complete."""
        with published(out / STAMP) as file:
            file.write_text(json.dumps(asdict(self)) + "\n")


def tree_digest(tree: Path) -> str:
    """Hash names, modes and contents of a tree: what decides its file system's bytes."""
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        mode = path.lstat().st_mode
        content = str(path.readlink()) if path.is_symlink() else ""
        if path.is_file() and not content:
            content = sha256_file(path)
        digest.update(f"{path.relative_to(tree)}\0{mode:o}\0{content}\n".encode())
    return digest.hexdigest()


def assemble(inputs: Inputs, out: Path, *, sign: bool = True) -> dict[str, object]:
    """Make everything in ``out`` and return the manifest. Without ``sign``, no ESP and no disk."""
    out.mkdir(parents=True, exist_ok=True)
    root, hashes, uki = out / "root.erofs", out / "root.verity", out / "uki.unsigned.efi"
    stamps = Stamps.of(inputs, sign=sign)
    if stamps.all == Stamps.read(out).all and (out / MANIFEST).exists():
        with step("image") as progress:
            progress.note("nothing changed")
        manifest: dict[str, object] = json.loads((out / MANIFEST).read_text())
        return manifest
    with step("root.erofs") as progress:
        if stamps.root != Stamps.read(out).root or not root.exists():
            (out / STAMP).unlink(missing_ok=True)
            erofs.build(inputs.root, root, EROFS_UUID)
        progress.note(_mib(root))
    # An interrupted build keeps the root, and nothing else counts as made.
    Stamps(stamps.root, "").write(out)
    with step("root.verity") as progress:
        tree = verity.build(root, hashes, version())
        disk.check_fits(root, hashes, inputs.target.layout)
        progress.note(f"{_mib(hashes)}, root hash {tree.root_hash[:16]}…")
    with step("uki.efi") as progress:
        build_uki(inputs, command_line(inputs, tree), uki)
        progress.note(_mib(uki))
    with step("sbom"):
        write_sbom(inputs, out / SBOM)
    manifest = describe(inputs, tree)
    if sign:
        _sign(inputs, uki, out)
        boot = (out / inputs.loader, out / "uki.efi", out / inputs.variables)
        manifest |= prediction.predict(*boot, manifest)
        manifest["seal"] = prediction.approve(manifest, out / APPROVAL)
        _install(inputs, tree, out)
    listed = [out / name for name in LISTED if (out / name).exists()]
    manifest["files"] = {
        path.name: {"sha256": sha256_file(path), "size": path.stat().st_size} for path in listed
    }
    with published(out / MANIFEST) as file:
        file.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    if sign:
        run([str(SECUREBOOT / "vouch"), str(out / MANIFEST)])
    stamps.write(out)
    return manifest


def command_line(inputs: Inputs, tree: HashTree) -> str:
    """Return the kernel command line of an image."""
    return verity.command_line(tree, inputs.target.architecture)


def build_uki(inputs: Inputs, words: str, out: Path) -> None:
    """Put kernel, command line and os-release into one unsigned EFI program. No initrd."""
    architecture = inputs.target.architecture
    stub = inputs.boot_file(architecture.stub)
    release = inputs.root / "usr/lib/os-release"
    with published(out) as temporary:
        command = [*tools.ukify(), "build", f"--linux={inputs.kernel}", f"--stub={stub}"]
        command += [f"--cmdline={words}", f"--os-release=@{release}"]
        command += [f"--efi-arch={architecture.efi}"]
        command += [f"--uname={sbom.kernel_release(inputs.kernel)}", f"--output={temporary}"]
        run(command, env={"SOURCE_DATE_EPOCH": str(epoch())})


def write_sbom(inputs: Inputs, out: Path) -> None:
    """Write the image's bill of materials: that of the root, and what is outside it."""
    sources = {name: wheel for name, (_, wheel) in models.distributions().items()}
    components = sbom.read_components(inputs.root / sbom.ROOT_DOCUMENT)
    components += [sbom.model(path, record, sources) for path, record in models.read(inputs.models)]
    components.append(sbom.kernel(inputs.kernel))
    if inputs.boot is None:  # another builder's is among the components of its tree
        components.append(sbom.boot_loader(inputs.target.architecture))
    with published(out) as file:
        file.write_text(sbom.document(components))


def describe(inputs: Inputs, tree: HashTree) -> dict[str, object]:
    """Return what a verifier must know of the image before it is signed."""
    root_uuid, verity_uuid = slot_uuids(tree.root_hash)
    library = inputs.root / "usr/lib/ainos"
    return {
        "schema": 1,
        "version": version(),
        "variant": inputs.target.variant.name,
        "architecture": inputs.target.architecture.name,
        "epoch": epoch(),
        "root": {
            "hash": tree.root_hash,
            "salt": tree.salt,
            "data_blocks": tree.data_blocks,
            "partuuid": {"root": str(root_uuid), "verity": str(verity_uuid)},
        },
        "cmdline": command_line(inputs, tree),
        "models": [
            {
                "name": record.name,
                "kind": record.kind,
                "file": record.file,
                "digest": fsverity.digest(path),
                "sha256": sha256_file(path),
            }
            for path, record in models.read(inputs.models)
        ],
        "agents": [
            {"name": path.stem, "digest": fsverity.digest(path)}
            for path in sorted((library / "agents").glob("*.erofs"))
        ],
        "machine_config": {"digest": fsverity.digest(library / "machine.toml")},
    }


def _sign(inputs: Inputs, unsigned: Path, out: Path) -> None:
    """Sign loader and UKI, and make the firmware's variable store."""
    architecture = inputs.target.architecture
    loader, uki = out / inputs.loader, out / "uki.efi"
    plain_loader = inputs.boot_file(architecture.boot_loader)
    with step("sign"):
        for source, signed in ((plain_loader, loader), (unsigned, uki)):
            run([str(SECUREBOOT / "sign"), str(source), str(signed)])
        enrol = [str(SECUREBOOT / "enrol"), "--arch", architecture.name]
        run([*enrol, str(out / inputs.variables)])


def _install(inputs: Inputs, tree: HashTree, out: Path) -> None:
    """Make the ESP, the state partition and the disk."""
    esp, state = out / "esp.fat", out / "state.ext4"
    with step("disk") as progress:
        disk.build_esp(
            {
                inputs.target.architecture.default_loader: out / inputs.loader,
                disk.entry_name(version()): out / "uki.efi",
                disk.approval_name(version()): out / APPROVAL,
                "loader/loader.conf": disk.LOADER_CONFIGURATION.encode(),
            },
            esp,
        )
        layout = inputs.layout
        disk.build_state(_state_files(inputs), state, layout["state"].size - VOLUME_HEADER)
        parts = disk.Parts(esp, out / "root.erofs", out / "root.verity", state, tree.root_hash)
        disk.assemble(parts, layout, out / DISK)
        used = (out / DISK).stat().st_blocks * 512
        progress.note(f"{_mib(out / 'ainos.img')}, {used / MIB:.0f} MiB on disk")
    for part in (esp, state):
        part.unlink()


def _state_files(inputs: Inputs) -> dict[str, Path]:
    """Return what is delivered with the image: each model where the store service looks for it."""
    return {
        f"models/incoming/{folder.name}/{path.name}": path
        for folder in inputs.models
        for path in sorted(folder.iterdir())
    }


def slot_mib(out: Path) -> float:
    """Return what an update of this image transfers and a slot holds: UKI, root and hash tree."""
    files = ("uki.efi", "root.erofs", "root.verity")
    return sum((out / name).stat().st_size for name in files) / MIB


def _mib(path: Path) -> str:
    return f"{path.stat().st_size / MIB:.1f} MiB"
