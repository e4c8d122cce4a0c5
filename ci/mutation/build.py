"""Builds mutants of one kernel, incrementally, without touching its tree.

The base is built once by `build-kernel`. A mutant is compiled with kbuild's own command for its file, which is stored
beside the object, from a mutated copy of the file. Then the kernel is linked with kbuild's own command for that: make
itself would first visit all folders, which takes three times as long as the rest.
"""

import re
import shutil
import subprocess
from pathlib import Path

# make exports what scripts/link-vmlinux.sh needs. nm is among the programs that the script starts, so this one, used
# instead of it, sees and stores that environment.
STORING_NM = """#!/bin/sh
export -p > link.env
exec nm "$@"
"""

# Without init, a User-Mode Linux that has come as far as starting it panics with these words.
BOOTED = "Attempted to kill init"


class Dropped(Exception):
    """A mutant that can't be measured: the reason."""


class Kernel:
    """A built User-Mode Linux, whose objects can be replaced one by one."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree, self.folder = tree, folder
        self.originals: dict[str, bytes] = {}
        # Names the file whose object is a mutant's at the moment.
        self.mark = folder / "mutated"
        if self.mark.exists():
            self.restore(self.mark.read_text())

    def command(self, file: str, source: Path, output: Path) -> str:
        """kbuild's command for net/mptcp/FILE, with another source and another object."""
        stem = file.removesuffix(".c")
        saved = self.folder / "net/mptcp" / f".{stem}.o.cmd"
        command = saved.read_text().splitlines()[0].split(":=", 1)[1]
        command, sources = re.subn(rf"\S*net/mptcp/{stem}\.c\s*$", str(source), command.strip())
        command, objects = re.subn(rf"-o net/mptcp/{stem}\.o\b", f"-o {output}", command)
        if sources != 1 or objects != 1:
            raise SystemExit(f"{saved}: the command has no source or no object of {file}: {command[-200:]}")
        command = re.sub(r"-Wp,-MMD,\S+", "", command)
        return f"{command} -w -iquote {self.tree / 'net/mptcp'}"

    def compile(self, file: str, text: bytes) -> bytes:
        """The object of net/mptcp/FILE with this text, without debug information."""
        source = self.folder / "mutant.c"
        output = self.folder / "mutant.o"
        # The name and the lines of the original, for __FILE__ and __LINE__.
        source.write_bytes(f'#line 1 "{self.tree}/net/mptcp/{file}"\n'.encode() + text)
        ran = subprocess.run(
            self.command(file, source, output), shell=True, cwd=self.folder, capture_output=True, check=False
        )
        if ran.returncode:
            raise Dropped("doesn't compile")
        subprocess.run(["objcopy", "--strip-debug", output], check=True)
        return output.read_bytes()

    def original(self, file: str) -> bytes:
        """The object of the unchanged file, compiled in the same way."""
        if file not in self.originals:
            text = (self.tree / "net/mptcp" / file).read_bytes()
            try:
                self.originals[file] = self.compile(file, text)
            except Dropped as dropped:
                raise SystemExit(f"net/mptcp/{file} {dropped}, without any mutation") from None
        return self.originals[file]

    def prepare_link(self) -> None:
        """Has make link the kernel once, and stores the environment of that."""
        nm = self.folder / "storing-nm"
        nm.write_text(STORING_NM)
        nm.chmod(0o755)
        (self.folder / "vmlinux").unlink(missing_ok=True)
        make = ["make", "-s", "-C", self.tree, "ARCH=um", f"O={self.folder}", f"NM={nm}", "linux"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)

    def link(self, image: Path, file: str | None = None, code: bytes = b"") -> None:
        """Links the kernel with other code of one file, and stores it stripped."""
        if not (self.folder / "link.env").exists():
            self.prepare_link()
        saved = (self.folder / ".vmlinux.cmd").read_text().splitlines()[0].split(":=", 1)[1]
        if file:
            self.mark.write_text(file)
            self.object(file).write_bytes(code)
        link = f". ./link.env; export NM=nm; {saved}"
        ran = subprocess.run(["sh", "-ec", link], cwd=self.folder, capture_output=True, check=False)
        if file:
            self.restore(file)
        if ran.returncode:
            raise Dropped("doesn't link")
        subprocess.run(["strip", "-o", image, self.folder / "vmlinux"], check=True)

    def object(self, file: str) -> Path:
        return self.folder / "net/mptcp" / file.replace(".c", ".o")

    def restore(self, file: str) -> None:
        """Puts the object of the unchanged file back."""
        self.object(file).write_bytes(self.original(file))
        self.mark.unlink()

    def build(self, file: str, text: bytes, image: Path) -> None:
        """Builds the kernel with another text of one file."""
        original = self.original(file)
        code = self.compile(file, text)
        if code == original:
            raise Dropped("same object code")
        self.link(image, file, code)
        if not boots(image):
            image.unlink()
            raise Dropped("doesn't boot")


def boots(image: Path) -> bool:
    """Whether the kernel starts init."""
    machine = [image, "mem=64M", "rootfstype=hostfs", "ro", "init=/bin/true", "con=null", "con0=null,fd:1", "panic=-1"]
    try:
        ran = subprocess.run(
            machine, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return BOOTED in ran.stdout


def base(tree: Path, folder: Path, script: Path) -> Kernel:
    """The unchanged kernel, built if it isn't yet."""
    if not (folder / "linux").exists():
        subprocess.run([script, "um", tree, folder], check=True, stdout=subprocess.DEVNULL)
    for tool in ("objcopy", "strip", "make"):
        if not shutil.which(tool):
            raise SystemExit(f"{tool} is missing: install binutils and make")
    return Kernel(tree, folder)
