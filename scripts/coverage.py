#!/usr/bin/env python3
"""Prints the line coverage of each folder of src, or the uncovered lines of one folder.

Usage: coverage.py LCOV [FOLDER]

LCOV is the lcov.info of `make coverage`; FOLDER is a part of a path below src, such as exchange.
"""

import os
import sys
from collections import defaultdict


def read(lcov):
    """The lines of each file below src, with how often each has run."""
    files, lines = {}, {}
    with open(lcov, encoding="utf-8") as text:
        for record in map(str.strip, text):
            if record.startswith("SF:"):
                path = os.path.relpath(record[3:])
                lines = files.setdefault(path.removeprefix("src/"), {}) if path.startswith("src/") else {}
            elif record.startswith("DA:"):
                number, runs = record[3:].split(",")[:2]
                lines[int(number)] = lines.get(int(number), 0) + int(runs)
    return files


def print_folders(files):
    covered, total = defaultdict(int), defaultdict(int)
    for path, lines in files.items():
        for folder in (path.split("/")[0] if "/" in path else ".", "all"):
            total[folder] += len(lines)
            covered[folder] += sum(runs > 0 for runs in lines.values())
    for folder in sorted(total, key=lambda folder: (folder == "all", folder)):
        share = 100 * covered[folder] / total[folder]
        print(f"{folder:15} {share:6.2f} %  {covered[folder]:5} of {total[folder]:5} lines")


def print_uncovered(files, folder):
    for path, lines in sorted(files.items()):
        missing = sorted(number for number, runs in lines.items() if runs == 0)
        if not path.startswith(folder) or not missing:
            continue
        with open(os.path.join("src", path), encoding="utf-8") as file:
            source = file.read().splitlines()
        print(f"src/{path}")
        for number in missing:
            print(f"  {number}: {source[number - 1].strip()}")


def main():
    files = read(sys.argv[1])
    if len(sys.argv) > 2:
        print_uncovered(files, sys.argv[2])
    else:
        print_folders(files)


main()
