"""Try the exercises of the book, and have them checked.

    python -m examples.exercises                what there is to do, and what is done
    python -m examples.exercises show 7         the text of exercise 7
    python -m examples.exercises check 7        is my answer to exercise 7 right?
    python -m examples.exercises check 7 --file mine.py         the answer is elsewhere

Write your answer into the file of the problem, examples/exercises/problems. A check
runs it on small inputs. If something is wrong, it says what, and often why.
"""

import argparse
import ast
import os
import sys
from pathlib import Path

from examples.exercises.answers import Verdict, function_name, problem_path, verdict
from examples.exercises.catalogue import CATALOGUE, Exercise, exercise

PIPE_CLOSED, INTERRUPTED = 141, 130  # exit statuses, as a shell has them: 128 + the signal


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.exercises",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="?", choices=("list", "show", "check"), default="list")
    parser.add_argument("number", nargs="?", type=int, help="of the exercise")
    parser.add_argument("--file", type=Path, help="the answer (default: the problem's own file)")
    chosen = parser.parse_args(arguments)
    if chosen.what != "list" and chosen.number is None:
        parser.error(f"{chosen.what} needs the number of an exercise, 1 to {len(CATALOGUE)}")
    if chosen.file is not None and not chosen.file.is_file():
        parser.error(f"--file {chosen.file}: there is no such file")
    return chosen


def list_all() -> None:
    """Print every exercise under its chapter, with a mark if it is solved."""
    chapter = ""
    for entry in CATALOGUE:
        if entry.chapter != chapter:
            chapter = entry.chapter
            print(f"\n{chapter}")
        mark = "x" if verdict(entry, problem_path(entry)).is_right else " "
        print(f"  [{mark}] {entry.number:2}  {entry.title}")
    print("\nBegin with: python -m examples.exercises show 1")


def show(chosen: Exercise) -> None:
    """Print the text of an exercise, and where its answer goes."""
    path = problem_path(chosen)
    print(f"Exercise {chosen.number}: {chosen.title}\n")
    try:
        text = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        print(f"Line {error.lineno} of {path} is no Python. The text stands at its top.")
        return
    print((ast.get_docstring(text) or "").strip())
    for node in text.body:
        if isinstance(node, ast.FunctionDef) and node.name == function_name(chosen):
            print(f"\n    def {node.name}({ast.unparse(node.args)})")
            print(f"        {ast.get_docstring(node)}")
    print(f"\n{chosen.reading}\nWrite your answer into {path}")


def check(chosen: Exercise, path: Path) -> Verdict:
    """Check an answer, and print what came out."""
    result = verdict(chosen, path)
    word = "right" if result.is_right else "not yet"
    print(f"exercise {chosen.number}, {chosen.title}: {word}")
    if result.message:
        print(result.message)
    return result


def main(arguments: list[str] | None = None) -> int:
    """The exit status is 0 unless a checked answer is wrong."""
    chosen = parse(arguments)
    if chosen.what == "list":
        list_all()
        return 0
    try:
        wanted = exercise(chosen.number)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if chosen.what == "show":
        show(wanted)
        return 0
    return 0 if check(wanted, chosen.file or problem_path(wanted)).is_right else 1


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = PIPE_CLOSED
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
