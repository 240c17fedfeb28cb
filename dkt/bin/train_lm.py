"""``dkt train-lm``: an n-gram language model in ARPA form from text."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.options import Number
from dkt.lm.arpa import write_arpa
from dkt.lm.ngram import MAX_ORDER, SMOOTHINGS, train_ngram
from dkt.lm.text import read_sentences, read_vocabulary
from dkt.util.option_text import boolean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--order",
        type=Number(ranges.whole(1, MAX_ORDER)),
        default=MAX_ORDER,
        help="length of the n-grams",
    )
    parser.add_argument("--smoothing", choices=SMOOTHINGS, default=SMOOTHINGS[0], help="smoothing")
    vocabulary = parser.add_mutually_exclusive_group()
    vocabulary.add_argument(
        "--words", help="words.txt of a lang directory, the vocabulary; all words of the text without"
    )
    vocabulary.add_argument("--vocab", help="the vocabulary as a list, one word per line")
    parser.add_argument(
        "--exclude-words",
        type=lambda text: text.split(","),
        default=[],
        help="words of the vocabulary that are not to be predicted, parted by commas, for example !SIL",
    )
    parser.add_argument("--unk", default="<unk>", help="word that words outside the vocabulary count as")
    parser.add_argument(
        "--utt-ids", type=boolean, default=False, help="the text begins each line with an utterance id"
    )
    parser.add_argument("--dev", help="text to report the perplexity of")
    parser.add_argument(
        "--dev-utt-ids", type=boolean, help="the same for the text of --dev; as --utt-ids without"
    )
    parser.add_argument("text", help="training text, one sentence per line, maybe compressed (.gz)")
    parser.add_argument("arpa", help="ARPA file to write, compressed if it ends in .gz")


def run(args: argparse.Namespace) -> None:
    """Train the model, write it, and print its perplexity on the text of ``--dev``."""
    path = args.words or args.vocab
    if args.exclude_words and not path:
        raise DktError("--exclude-words needs --words or --vocab")
    vocabulary = None
    if path:
        vocabulary = read_vocabulary(path, symbol_table=bool(args.words), exclude=args.exclude_words)
    sentences = read_sentences(args.text, args.utt_ids)
    dev_utt_ids = args.utt_ids if args.dev_utt_ids is None else args.dev_utt_ids
    dev = read_sentences(args.dev, dev_utt_ids) if args.dev else None
    model = train_ngram(sentences, args.order, smoothing=args.smoothing, vocabulary=vocabulary, unk=args.unk)
    write_arpa(model, args.arpa)
    if dev is not None:
        print(model.perplexity(dev).report(args.dev))
