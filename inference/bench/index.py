"""Indexing and search of documents.

--pages N indexes PDF pages and reports pages a second by phase against the bare embedder on the same text;
--kills N kills indexing at random moments and looks at what is left; --long-file N indexes a file of so
many pages; --passages N measures search over that many made-up passages; --quality FILE asks the questions
of a JSON-lines file ({"file", "page", "question", "answer", "evidence"}) of the documents in the folder
given by --documents and reports recall of the right page for vectors, words, both, and both with the second
look, and how well the marked boxes cover the evidence.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from inference.command_line import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure."""
    parser.add_argument("--documents", metavar="DIR", help="folder of documents to index")
    parser.add_argument("--pages", type=int, metavar="N", help="measure indexing of about this many pages")
    parser.add_argument("--passages", type=int, metavar="N", help="measure search over this many passages")
    parser.add_argument(
        "--table", metavar="DIR", help="with --passages: keep the table here, and search it again"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="with --pages: repeat so often")
    parser.add_argument("--kills", type=int, metavar="N", help="kill indexing at this many random moments")
    parser.add_argument("--long-file", type=int, metavar="N", help="index one PDF of so many pages")
    parser.add_argument("--quality", metavar="FILE", help="measure retrieval on these questions")
    parser.add_argument("--library", metavar="DIR", help="keep the library here, and use it again")
    parser.add_argument("--password", action="append", default=[], metavar="FILE=PASSWORD")
    parser.add_argument("--answers", action="store_true", help="with --quality, also let the model answer")
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="with --answers: so many questions"
    )
    parser.add_argument(
        "--sources", type=int, metavar="N", help="with --answers: most passages that the model reads"
    )
    parser.add_argument("--kept", metavar="FILE", help="with --answers: go on where a run was broken off")
    parser.add_argument("--model", default="builtin", help="the model for --answers")
    parser.add_argument("--threads", type=int, default=None, metavar="N", help="CPU threads of the embedder")
    parser.add_argument(
        "--json", action="store_true", help="accepted for symmetry: the output is always JSON"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print one line for each figure; returns the exit status."""
    from inference.bench import answer_quality, index_faults, index_quality, index_speed

    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.pages and arguments.documents:
            folder = Path(scratch) / "speed"
            rounds = max(arguments.rounds, 1)
            print_json(index_speed.indexing(Path(arguments.documents), folder, arguments.pages, rounds))
        if arguments.passages:
            table = Path(arguments.table or Path(scratch) / "search")
            print_json(index_speed.searching(table, arguments.passages))
        if arguments.kills:
            print_json(index_faults.kills(Path(scratch) / "kills", arguments.kills))
        if arguments.long_file:
            print_json(index_faults.long_file(Path(scratch) / "long", arguments.long_file))
        if arguments.quality and arguments.documents:
            library = index_quality.open_library(
                Path(arguments.library or Path(scratch) / "quality"),
                Path(arguments.documents),
                dict(item.rsplit("=", 1) for item in arguments.password),
            )
            for line in index_quality.measure(library, Path(arguments.documents), Path(arguments.quality)):
                print_json(line)
            if arguments.answers:
                lines = answer_quality.measure(
                    library,
                    Path(arguments.quality),
                    arguments.model,
                    sample=arguments.sample,
                    kept=Path(arguments.kept) if arguments.kept else None,
                    limit=arguments.sources,
                )
                for line in lines:
                    print_json(line)
    return 0
