"""The frames of frames.txt, in which a sentence is put together, by their names."""

import pathlib

import barred

FILE = pathlib.Path(__file__).with_name("frames.txt")


def read(path=FILE):
    """The frames of a file: {name: [frame]}."""
    made, at = {}, None
    for line in path.read_text().splitlines():
        line = line.strip()
        if line.startswith("frame: "):
            at = made.setdefault(line[7:], [])
        elif line and not line.startswith("#"):
            if barred.reason(line):
                raise ValueError(f"{barred.reason(line)}: {line}")
            at.append(line)
    return made


FRAMES = read()
